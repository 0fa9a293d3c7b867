#include "draw.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace yolort {
namespace {

constexpr double mask_opacity = 0.45;
constexpr float min_visibility = 0.5f;

using Color = std::array<std::uint8_t, 3>;  // red, green, blue
struct Point {
  double x, y;
};

constexpr Color white = {255, 255, 255};

/// Hues a golden angle apart.
Color color_of(int cls) {
  const double hue = std::fmod(cls * 0.618034, 1) * 6;
  Color out{};
  for (int channel = 0; channel < 3; ++channel) {
    const double distance = std::fabs(hue - 2 * channel);  // red at 0 and 6, green at 2, blue at 4
    const double away = channel == 0 ? std::min(distance, 6 - distance) : distance;
    out[static_cast<std::size_t>(channel)] =
        static_cast<std::uint8_t>(std::lround(255 * 0.95 * (1 - 0.75 * std::clamp(away - 1, 0.0, 1.0))));
  }
  return out;
}

class Canvas {
 public:
  explicit Canvas(DecodedImage& image) : image_(image) {}

  /// A line with round ends, antialiased.
  void line(Point a, Point b, const Color& color, double thickness) {
    const double dx = b.x - a.x, dy = b.y - a.y, squared = dx * dx + dy * dy;
    if (!std::isfinite(squared) || !std::isfinite(a.x + a.y)) return;
    const bool along_x = std::fabs(dx) >= std::fabs(dy);
    const int length = along_x ? image_.width : image_.height, depth = along_x ? image_.height : image_.width;
    const double start = along_x ? a.x : a.y, from = along_x ? a.y : a.x;
    const double stop = along_x ? b.x : b.y;
    const double slope = squared > 0 ? (along_x ? dy / dx : dx / dy) : 0;
    const double reach = thickness / 2 + 1, spread = reach * std::sqrt(1 + slope * slope);
    const int last = within(std::max(start, stop) + reach + 1, length);
    for (int u = within(std::min(start, stop) - reach, length); u < last; ++u) {
      const double middle = from + slope * (u - start);
      const int end = within(middle + spread + 1, depth);
      for (int v = within(middle - spread, depth); v < end; ++v) {
        const int x = along_x ? u : v, y = along_x ? v : u;
        const double share = squared > 0 ? std::clamp(((x - a.x) * dx + (y - a.y) * dy) / squared, 0.0, 1.0) : 0;
        const double distance = std::hypot(x - a.x - share * dx, y - a.y - share * dy);
        blend(x, y, color, std::clamp(thickness / 2 + 0.5 - distance, 0.0, 1.0));
      }
    }
  }

  void polygon(const std::array<float, 8>& corners, const Color& color, double thickness) {
    for (std::size_t i = 0; i < 8; i += 2) {
      line({corners[i], corners[i + 1]}, {corners[(i + 2) % 8], corners[(i + 3) % 8]}, color, thickness);
    }
  }

  void mask(const Mask& mask, const Color& color) {
    for (int y = mask.y; y < mask.y + mask.height; ++y) {
      for (int x = mask.x; x < mask.x + mask.width; ++x) {
        if (mask.at(x, y)) blend(x, y, color, mask_opacity);
      }
    }
  }

 private:
  static int within(double value, int size) {
    return static_cast<int>(std::clamp(std::floor(value), 0.0, static_cast<double>(size)));
  }

  void blend(int x, int y, const Color& color, double share) {
    std::uint8_t* pixel =
        image_.rgb.data() +
        3 * (static_cast<std::size_t>(y) * static_cast<std::size_t>(image_.width) + static_cast<std::size_t>(x));
    for (std::size_t i = 0; i < 3; ++i) {
      pixel[i] = static_cast<std::uint8_t>(std::lround(pixel[i] + share * (color[i] - pixel[i])));
    }
  }

  DecodedImage& image_;
};

void draw_pose(Canvas& canvas, const float* points, const std::array<int, 2>& shape, const Skeleton& skeleton,
               const Color& color, double line) {
  const auto visible = [&](int k) { return shape[1] == 2 || points[k * shape[1] + 2] >= min_visibility; };
  const auto at = [&](int k) { return Point{points[k * shape[1]], points[k * shape[1] + 1]}; };
  for (const auto& [start, end] : skeleton) {
    if (visible(start) && visible(end)) canvas.line(at(start), at(end), color, line);
  }
  for (int k = 0; k < shape[0]; ++k) {
    if (visible(k)) canvas.line(at(k), at(k), white, 2 * line + 2);
  }
}

}  // namespace

void draw(DecodedImage& image, const Detections& found, const Skeleton& skeleton) {
  Canvas canvas(image);
  const double line = std::max(std::lround(std::max(image.width, image.height) / 400.0), 1L);
  for (std::size_t i = found.size(); i-- > 0;) {  // best detection last, so that it is on top
    const Color color = color_of(found.classes[i]);
    const Box& box = found.boxes[i];
    if (!found.masks.empty()) canvas.mask(found.masks[i], color);
    canvas.polygon(found.rotated.empty() ? std::array{box.x2, box.y2, box.x2, box.y1, box.x1, box.y1, box.x1, box.y2}
                                         : corners(found.rotated[i]),
                   color, line);
    if (found.keypoints.empty()) continue;
    const auto values = static_cast<std::size_t>(found.kpt_shape[0]) * static_cast<std::size_t>(found.kpt_shape[1]);
    draw_pose(canvas, found.keypoints.data() + i * values, found.kpt_shape, skeleton, color, line);
  }
}

DecodedImage to_rgb(const Image& image) {
  struct Order {
    std::size_t red, green, blue;
  };
  static constexpr Order orders[] = {{2, 1, 0}, {0, 1, 2}, {2, 1, 0}, {0, 1, 2}, {0, 0, 0}, {0, 1, 2}};
  const std::size_t size = pixel_size(image);
  const Order& order = orders[static_cast<int>(size < 3 ? PixelFormat::gray : image.format)];
  const auto pixels = static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height);
  DecodedImage out{image.width, image.height, {}};
  out.rgb.reserve(3 * pixels);
  for (std::size_t i = 0; i < pixels; ++i) {
    const std::uint8_t* from = image.pixels + i * size;
    out.rgb.insert(out.rgb.end(), {from[order.red], from[order.green], from[order.blue]});
  }
  return out;
}

}  // namespace yolort
