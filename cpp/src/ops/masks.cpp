#include "ops/masks.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <string>

#include "ops/half.h"
#include "ops/head_layout.h"
#include "platform/thread_pool.h"

namespace yolort {
namespace {

/// With fewer mask pixels per image, one thread finishes before a second one would wake up.
constexpr std::size_t min_shared_pixels = std::size_t{1} << 18;

/// Position of a sample of a bilinear resize, as in PyTorch's interpolate (align_corners=False).
struct Position {
  int first, next;
  float fraction;  ///< weight of the next

  Position(int i, float scale, int size) {
    const float at = std::max(scale * (static_cast<float>(i) + 0.5f) - 0.5f, 0.0f);
    first = std::min(static_cast<int>(at), size - 1);
    next = std::min(first + 1, size - 1);
    fraction = at - static_cast<float>(first);
  }
};

/// The samples along one side. The prototypes (`size` values) are enlarged `factor` times; `fitted` of these values,
/// beginning at `start`, cover the image, which has `source` pixels.
Samples samples(int size, int factor, int start, int fitted, int source, bool mirrored) {
  Samples out;
  const float scale = static_cast<float>(fitted) / static_cast<float>(source);
  for (int i = 0; i < source; ++i) {
    const Position outer(mirrored ? source - 1 - i : i, scale, fitted);
    std::array<float, 3> weights{};
    int base = -1;
    for (const auto& [at, weight] : {std::pair{outer.first, 1 - outer.fraction}, {outer.next, outer.fraction}}) {
      const Position inner(start + at, 1 / static_cast<float>(factor), size);
      if (base < 0) base = inner.first;
      weights[static_cast<std::size_t>(inner.first - base)] += weight * (1 - inner.fraction);
      weights[static_cast<std::size_t>(inner.next - base)] += weight * inner.fraction;
    }
    out.first.push_back(base);
    for (std::size_t k = 0; k < 3; ++k) out.weights[k].push_back(weights[k]);
  }
  return out;
}

/// The factor to enlarge the prototypes by so that the padding is a whole number of values. Each prototype covers 4
/// pixels.
int enlargement(const Geometry& g) {
  const int sides = g.left | g.top | g.new_width | g.new_height;
  return sides % 2 ? 4 : sides % 4 ? 2 : 1;
}

std::size_t pixels_in(const Mask& mask) {
  return static_cast<std::size_t>(mask.width) * static_cast<std::size_t>(mask.height);
}

template <class T>
void keep(std::vector<T>& values, const std::vector<std::size_t>& kept) {
  for (std::size_t i = 0; i < kept.size(); ++i) values[i] = std::move(values[kept[i]]);
  values.resize(kept.size());
}

}  // namespace

std::size_t bytes_of(const Mask& mask) { return mask.row_bytes() * static_cast<std::size_t>(mask.height); }

std::shared_ptr<std::uint8_t> make_bits(std::size_t bytes) {
  auto* bits = static_cast<std::uint8_t*>(std::calloc(std::max<std::size_t>(bytes, 1), 1));
  if (!bits) throw std::bad_alloc();
  return {bits, std::free};
}

Mask pixels_of(const Box& box) {
  Mask out;
  out.x = static_cast<int>(std::ceil(box.x1));
  out.y = static_cast<int>(std::ceil(box.y1));
  out.width = std::max(static_cast<int>(std::ceil(box.x2)) - out.x, 0);
  out.height = std::max(static_cast<int>(std::ceil(box.y2)) - out.y, 0);
  return out;
}

void drop_empty(Detections& found) {
  std::vector<std::size_t> kept;
  for (std::size_t i = 0; i < found.masks.size(); ++i) {
    const Mask& mask = found.masks[i];
    const std::uint8_t* bits = mask.bits.get();
    if (bits && std::any_of(bits, bits + bytes_of(mask), [](std::uint8_t byte) { return byte != 0; })) {
      kept.push_back(i);
    }
  }
  keep(found.boxes, kept);
  keep(found.scores, kept);
  keep(found.classes, kept);
  keep(found.masks, kept);
}

MaskSamples mask_samples(const Geometry& g, int height, int width) {
  const int factor = enlargement(g);
  return {samples(width, factor, g.left * factor / 4, g.new_width * factor / 4, g.source_width, g.mirrored),
          samples(height, factor, g.top * factor / 4, g.new_height * factor / 4, g.source_height, false)};
}

void MaskDecoder::prepare(const Tensor& prototypes, int index, const Geometry& geometry) {
  channels_ = prototypes.shape[1];
  const std::ptrdiff_t origin = index * prototypes.batch_stride();
  const std::ptrdiff_t cells = static_cast<std::ptrdiff_t>(prototypes.shape[2]) * prototypes.shape[3];
  stride_ = prototypes.channel_stride;
  if (prototypes.type == Type::f32) {
    prototypes_ = static_cast<const float*>(prototypes.data) + origin;
  } else {
    const auto* half = static_cast<const std::uint16_t*>(prototypes.data) + origin;
    widened_.resize(static_cast<std::size_t>(channels_ * cells));
    for (int c = 0; c < channels_; ++c) {
      std::transform(half + c * stride_, half + c * stride_ + cells, widened_.begin() + c * cells, half_to_float);
    }
    prototypes_ = widened_.data();
    stride_ = cells;
  }
  if (geometry == geometry_ && height_ == prototypes.shape[2] && width_ == prototypes.shape[3]) return;
  height_ = prototypes.shape[2];
  width_ = prototypes.shape[3];
  samples_ = mask_samples(geometry, height_, width_);
  geometry_ = geometry;
}

/// Weights the prototypes by the coefficients, in the region that the mask needs.
void MaskDecoder::find_grid(const Mask& mask, const float* coefficients, Grid& grid) const {
  const auto ends = std::minmax(samples_.columns.first[static_cast<std::size_t>(mask.x)],
                                samples_.columns.first[static_cast<std::size_t>(mask.x + mask.width - 1)]);
  grid.left = ends.first;
  grid.right = std::min(ends.second + 2, width_ - 1);
  grid.top = samples_.rows.first[static_cast<std::size_t>(mask.y)];
  const int below = samples_.rows.first[static_cast<std::size_t>(mask.y + mask.height - 1)] + 3;
  const std::ptrdiff_t step = width_ + 2;
  const auto n = static_cast<std::size_t>(grid.right - grid.left + 1);
  grid.values.assign(static_cast<std::size_t>((below - grid.top) * step), 0);
  grid.row.assign(static_cast<std::size_t>(step) + sample_slack, 0);
  bool finite = true;
  for (int y = grid.top; y < std::min(below, height_); ++y) {
    float* to = &grid.values[static_cast<std::size_t>((y - grid.top) * step + grid.left)];
    kernels_->weighted_sum(prototypes_ + static_cast<std::ptrdiff_t>(y) * width_ + grid.left, stride_, coefficients,
                           static_cast<std::size_t>(channels_), n, to);
    for (std::size_t i = 0; i < n; ++i) finite &= std::isfinite(to[i]);
  }
  if (!finite) throw not_finite();
}

/// Samples `n` pixels of the row, beginning at column `x`. If all values around a block of pixels have the same sign,
/// so do its pixels.
void MaskDecoder::fill_row(const Grid& grid, std::size_t x, std::size_t n, std::uint8_t* bits) const {
  constexpr std::size_t block = 64;
  for (std::size_t i = 0; i < n; i += block) {
    const std::size_t count = std::min(block, n - i);
    const auto [first, last] = std::minmax(samples_.columns.first[x + i], samples_.columns.first[x + i + count - 1]);
    const float* from = &grid.row[static_cast<std::size_t>(first)];
    const float* end = &grid.row[static_cast<std::size_t>(std::min(last + 2, grid.right))] + 1;
    const auto above = std::count_if(from, end, [](float value) { return value > 0; });
    if (above == 0) continue;
    if (above == end - from && count == block) {
      std::fill_n(bits + i / 8, block / 8, std::uint8_t{0xFF});
    } else {
      kernels_->sample_bits(grid.row.data(), samples_.columns, x + i, count, bits + i / 8);
    }
  }
}

/// Writes a mask whose bits are all 0.
void MaskDecoder::fill(const Mask& mask, Grid& grid, std::uint8_t* bits) const {
  const std::ptrdiff_t step = width_ + 2;
  const auto n = static_cast<std::size_t>(grid.right - grid.left + 1);
  for (int y = 0; y < mask.height; ++y) {
    const auto at = static_cast<std::size_t>(mask.y + y);
    const float weights[3] = {samples_.rows.weights[0][at], samples_.rows.weights[1][at], samples_.rows.weights[2][at]};
    kernels_->weighted_sum(
        &grid.values[static_cast<std::size_t>((samples_.rows.first[at] - grid.top) * step + grid.left)], step, weights,
        3, n, &grid.row[static_cast<std::size_t>(grid.left)]);
    fill_row(grid, static_cast<std::size_t>(mask.x), static_cast<std::size_t>(mask.width),
             bits + static_cast<std::size_t>(y) * mask.row_bytes());
  }
}

/// Sets the bits of a mask.
void MaskDecoder::decode(const float* coefficients, Grid& grid, Mask& mask) const {
  if (pixels_in(mask) == 0) return;
  std::shared_ptr<std::uint8_t> bits = make_bits(bytes_of(mask));
  find_grid(mask, coefficients, grid);
  fill(mask, grid, bits.get());
  mask.bits = std::move(bits);
}

void MaskDecoder::operator()(const Tensor& prototypes, int index, const Geometry& geometry,
                             const std::vector<float>& coefficients, Detections& found) {
  if (found.empty()) return;
  prepare(prototypes, index, geometry);
  std::vector<Mask>& masks = found.masks;
  for (const Box& box : found.boxes) masks.push_back(pixels_of(box));
  check_mask_memory(masks);
  std::size_t pixels = 0;
  for (const Mask& mask : masks) pixels += pixels_in(mask);
  grids_.resize(pixels < min_shared_pixels ? 1 : std::min(threads_, masks.size()));
  parallel_for(masks.size(), grids_.size(), [&](std::size_t i) {
    decode(&coefficients[i * static_cast<std::size_t>(channels_)], grids_[this_part().index], masks[i]);
  });
  drop_empty(found);
}

void check_mask_memory(const std::vector<Mask>& masks) {
  std::size_t bytes = 0;
  for (const Mask& mask : masks) bytes += bytes_of(mask);
  if (bytes <= max_mask_bytes) return;
  throw std::invalid_argument("the masks of " + std::to_string(masks.size()) + " detections in one image take " +
                              std::to_string(bytes >> 20) + " MiB, more than the " +
                              std::to_string(max_mask_bytes >> 20) +
                              " allowed; lower max_det, raise conf, or use a smaller image");
}

Mask around(const std::vector<const Mask*>& masks) {
  Mask out = *masks.front();
  out.bits.reset();
  int right = 0, bottom = 0;
  for (const Mask* mask : masks) {
    out.x = std::min(out.x, mask->x);
    out.y = std::min(out.y, mask->y);
    right = std::max(right, mask->x + mask->width);
    bottom = std::max(bottom, mask->y + mask->height);
  }
  out.width = right - out.x;
  out.height = bottom - out.y;
  return out;
}

void join(const std::vector<const Mask*>& masks, Mask& mask) {
  std::shared_ptr<std::uint8_t> bits = make_bits(bytes_of(mask));
  for (const Mask* part : masks) {
    for (int y = 0; y < part->height; ++y) {
      const std::uint8_t* from = part->bits.get() + static_cast<std::size_t>(y) * part->row_bytes();
      std::uint8_t* to = bits.get() + static_cast<std::size_t>(part->y - mask.y + y) * mask.row_bytes();
      const auto shift = static_cast<std::size_t>(part->x - mask.x);
      for (std::size_t i = 0; i < part->row_bytes(); ++i) {
        const unsigned wide = static_cast<unsigned>(from[i]) << shift % 8;
        to[i + shift / 8] = static_cast<std::uint8_t>(to[i + shift / 8] | wide);
        if (wide >> 8) to[i + shift / 8 + 1] = static_cast<std::uint8_t>(to[i + shift / 8 + 1] | wide >> 8);
      }
    }
  }
  mask.bits = std::move(bits);
}

bool Mask::at(int column, int row) const {
  const int i = column - x, j = row - y;
  if (i < 0 || j < 0 || i >= width || j >= height) return false;
  return bits.get()[static_cast<std::size_t>(j) * row_bytes() + static_cast<std::size_t>(i / 8)] >> i % 8 & 1;
}

std::size_t Mask::area() const {
  std::size_t out = 0;
  for (std::size_t i = 0; i < row_bytes() * static_cast<std::size_t>(height); ++i) {
    for (std::uint8_t rest = bits.get()[i]; rest; rest = static_cast<std::uint8_t>(rest & (rest - 1))) ++out;
  }
  return out;
}

}  // namespace yolort
