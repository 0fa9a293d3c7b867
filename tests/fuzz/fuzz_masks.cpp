// Masks of any boxes and prototypes in images of any proportions: every table of kernels, with one or several threads,
// gives the same masks, within their boxes.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <vector>

#include "fuzz.h"
#include "ops/masks.h"

using namespace yolort;

namespace {

bool same(const Detections& a, const Detections& b) {
  if (a.classes != b.classes || a.masks.size() != b.masks.size()) return false;
  for (std::size_t i = 0; i < a.masks.size(); ++i) {
    const Mask &p = a.masks[i], &q = b.masks[i];
    if (p.x != q.x || p.y != q.y || p.width != q.width || p.height != q.height) return false;
    if (!std::equal(p.bits.get(), p.bits.get() + bytes_of(p), q.bits.get())) return false;
  }
  return true;
}

Geometry any_geometry(fuzz::Bytes& bytes) {
  const int width = 32 * bytes.within(1, 8), height = 32 * bytes.within(1, 8);
  const double scale = bytes.within(1, 100) / 100.0;
  const int source_width = bytes.within(1, 700), source_height = bytes.within(1, 700);
  Geometry out = Geometry::fit(source_width, source_height, width, height, scale, bytes.flag());
  return bytes.flag() ? out.trimmed(32) : out;
}

/// Boxes as Geometry::to_image() leaves them: within the image, but in any order of their sides.
Detections any_boxes(fuzz::Bytes& bytes, const Geometry& g) {
  Detections out;
  for (int i = bytes.within(0, 6); i > 0; --i) {
    float sides[4];
    for (int k = 0; k < 4; ++k) {
      const auto limit = static_cast<float>(k % 2 ? g.source_height : g.source_width);
      sides[k] = limit * static_cast<float>(bytes.within(0, 1 << 16)) / (1 << 16);
    }
    out.boxes.push_back({sides[0], sides[1], sides[2], sides[3]});
    out.scores.push_back(0.5f);
    out.classes.push_back(i);
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Bytes bytes(data, size);
  const Geometry geometry = any_geometry(bytes);
  const Detections boxes = any_boxes(bytes, geometry);
  const int channels = bytes.within(1, 4), height = geometry.height / 4, width = geometry.width / 4;
  const bool half = bytes.flag();
  std::vector<float> coefficients, values;
  for (std::size_t i = 0; i < boxes.size() * static_cast<std::size_t>(channels); ++i) {
    const auto value = bytes.take<float>();
    coefficients.push_back(std::isfinite(value) ? value : 1);  // the decoder has checked them
  }
  while (!bytes.rest().empty()) values.push_back(bytes.take<float>());
  std::vector<float> prototypes(static_cast<std::size_t>(channels * height * width), 1);
  for (std::size_t i = 0; i < prototypes.size() && !values.empty(); ++i) prototypes[i] = values[i % values.size()];
  const Tensor tensor{
      prototypes.data(), {1, channels, height, width}, std::ptrdiff_t{height} * width, half ? Type::f16 : Type::f32};

  std::vector<Detections> made;
  int refused = 0;
  for (const Kernels* table : available_kernels()) {
    for (const int threads : {1, 3}) {
      made.push_back(boxes);
      try {
        MaskDecoder(*table, threads)(tensor, 0, geometry, coefficients, made.back());
      } catch (const EngineError&) {  // infinity
        ++refused;
      }
    }
  }
  if (refused) {
    if (refused != static_cast<int>(made.size())) std::abort();
    return 0;
  }
  for (const Detections& each : made) {
    if (!same(each, made.front())) std::abort();
  }
  for (const Mask& mask : made.front().masks) {
    if (mask.x < 0 || mask.y < 0 || mask.x + mask.width > geometry.source_width ||
        mask.y + mask.height > geometry.source_height || mask.area() == 0) {
      std::abort();
    }
  }
  return 0;
}
