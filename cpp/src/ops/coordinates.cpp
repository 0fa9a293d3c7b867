#include "ops/coordinates.h"

#include <algorithm>
#include <cmath>

namespace yolort {
namespace {

int round_side(double side) { return std::max(static_cast<int>(std::nearbyint(side)), 1); }

}  // namespace

Geometry Geometry::placed(int source_width, int source_height, int width, int height, double across, double down,
                          bool mirrored) {
  Geometry g;
  g.source_width = source_width;
  g.source_height = source_height;
  g.width = width;
  g.height = height;
  g.new_width = std::min(round_side(source_width * across), width);
  g.new_height = std::min(round_side(source_height * down), height);
  g.mirrored = mirrored;
  g.center();
  return g;
}

Geometry Geometry::fit(int source_width, int source_height, int width, int height, double scale, bool mirrored) {
  const double ratio =
      scale * std::min(static_cast<double>(height) / source_height, static_cast<double>(width) / source_width);
  return placed(source_width, source_height, width, height, ratio, ratio, mirrored);
}

Geometry Geometry::stretch(int source_width, int source_height, int width, int height, double scale, bool mirrored) {
  return placed(source_width, source_height, width, height, scale * width / source_width,
                scale * height / source_height, mirrored);
}

void Geometry::center() {
  left = static_cast<int>(std::nearbyint((width - new_width) / 2.0 - 0.1));
  top = static_cast<int>(std::nearbyint((height - new_height) / 2.0 - 0.1));
}

Geometry Geometry::trimmed(int stride) const {
  Geometry out = *this;
  out.width = new_width + (width - new_width) % stride;
  out.height = new_height + (height - new_height) % stride;
  out.center();
  return out;
}

Box Geometry::to_image(const Box& box) const {
  const float gain_x = static_cast<float>(static_cast<double>(new_width) / source_width);
  const float gain_y = static_cast<float>(static_cast<double>(new_height) / source_height);
  const auto map = [](float at, int pad, float gain, int limit) {
    return std::clamp((at - static_cast<float>(pad)) / gain, 0.0f, static_cast<float>(limit));
  };
  const Box out = {map(box.x1, left, gain_x, source_width), map(box.y1, top, gain_y, source_height),
                   map(box.x2, left, gain_x, source_width), map(box.y2, top, gain_y, source_height)};
  if (!mirrored) return out;
  const auto right = static_cast<float>(source_width);
  return {right - out.x2, out.y1, right - out.x1, out.y2};
}

Box Geometry::clip(const Box& box) const {
  const auto width = static_cast<float>(source_width), height = static_cast<float>(source_height);
  return {std::clamp(box.x1, 0.0f, width), std::clamp(box.y1, 0.0f, height), std::clamp(box.x2, 0.0f, width),
          std::clamp(box.y2, 0.0f, height)};
}

RotatedBox Geometry::to_image(const RotatedBox& box) const {
  const float gain_x = static_cast<float>(static_cast<double>(new_width) / source_width);
  const float gain_y = static_cast<float>(static_cast<double>(new_height) / source_height);
  RotatedBox out = {(box.cx - static_cast<float>(left)) / gain_x, (box.cy - static_cast<float>(top)) / gain_y,
                    box.width / gain_x, box.height / gain_y, box.angle};
  if (mirrored) {
    out.cx = static_cast<float>(source_width) - out.cx;
    out.angle = -out.angle;
  }
  return out;
}

bool Geometry::operator==(const Geometry& o) const {
  return source_width == o.source_width && source_height == o.source_height && width == o.width && height == o.height &&
         new_width == o.new_width && new_height == o.new_height && left == o.left && top == o.top &&
         mirrored == o.mirrored;
}

}  // namespace yolort
