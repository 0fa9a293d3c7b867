#include "ops/letterbox.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

#include "ops/half.h"

namespace yolort {
namespace {

constexpr float padding = 114.0f / 255.0f;

template <class T>
void fill_padding(T* plane, const Geometry& g, T value) {
  const int right = g.left + g.new_width, bottom = g.top + g.new_height;
  std::fill(plane, plane + static_cast<std::ptrdiff_t>(g.top) * g.width, value);
  std::fill(plane + static_cast<std::ptrdiff_t>(bottom) * g.width,
            plane + static_cast<std::ptrdiff_t>(g.height) * g.width, value);
  if (g.new_width == g.width) return;
  for (int y = g.top; y < bottom; ++y) {
    T* row = plane + static_cast<std::ptrdiff_t>(y) * g.width;
    std::fill(row, row + g.left, value);
    std::fill(row + right, row + g.width, value);
  }
}

}  // namespace

const ChannelOrder& order_of(PixelFormat format) {
  static const ChannelOrder bgr{3, {2, 1, 0}}, rgb{3, {0, 1, 2}}, bgra{4, {2, 1, 0}}, rgba{4, {0, 1, 2}},
      gray{1, {0, 0, 0}};
  switch (format) {
    case PixelFormat::bgr: return bgr;
    case PixelFormat::rgb: return rgb;
    case PixelFormat::bgra: return bgra;
    case PixelFormat::rgba: return rgba;
    case PixelFormat::gray: return gray;
  }
  throw std::invalid_argument("image: unknown pixel format");
}

void check_image(const Image& image) {
  if (image.width < 1 || image.height < 1 || image.width > Image::max_side || image.height > Image::max_side) {
    throw std::invalid_argument("image: " + std::to_string(image.width) + " x " + std::to_string(image.height) +
                                " pixels, expected 1 to " + std::to_string(Image::max_side) + " a side");
  }
  if (!image.pixels) throw std::invalid_argument("image: no pixels (null pointer)");
  const std::ptrdiff_t packed = static_cast<std::ptrdiff_t>(image.width) * order_of(image.format).step;
  if (image.stride != 0 && std::abs(image.stride) < packed) {
    throw std::invalid_argument("image: a stride of " + std::to_string(image.stride) + " bytes is less than a row's " +
                                std::to_string(packed));
  }
}

namespace {

/// Source position of an output pixel in OpenCV's INTER_LINEAR: pixel centers are at half. The fraction is the weight
/// of the next source pixel.
struct Position {
  int first;
  float fraction;

  Position(int i, int source, int target) {
    const double scale = 1.0 / (static_cast<double>(target) / source);
    const auto at = static_cast<float>((i + 0.5) * scale - 0.5);
    first = static_cast<int>(std::floor(at));
    fraction = at - static_cast<float>(first);
  }
};

/// OpenCV rounds each of the two weights separately, half to even.
std::int16_t to_weight(float fraction) {
  return static_cast<std::int16_t>(std::lrint(fraction * static_cast<float>(1 << weight_bits)));
}

}  // namespace

void Letterbox::prepare(const Image& image, const Geometry& geometry) {
  const int step = order_of(image.format).step;
  if (geometry == geometry_ && step == step_) return;
  columns_ = {};
  for (int x = 0; x < geometry.new_width; ++x) {
    Position at(x, image.width, geometry.new_width);
    if (at.first < 0 || at.first >= image.width - 1) {  // across, only the edge pixel counts
      at.first = std::clamp(at.first, 0, image.width - 1);
      at.fraction = 0;
    }
    std::uint32_t left = static_cast<std::uint16_t>(to_weight(1.0f - at.fraction));
    std::uint32_t right = static_cast<std::uint16_t>(to_weight(at.fraction));
    if (geometry.mirrored) {  // the pair is read from its other end
      at.first = image.width - 1 - at.first;
      if (at.fraction != 0) {
        --at.first;
        std::swap(left, right);
      }
    }
    columns_.offsets.push_back(at.first * step);
    columns_.weights.push_back(left | right << 16);
  }
  first_row_.clear();
  for (auto& weights : row_weights_) weights.clear();
  for (int y = 0; y < geometry.new_height; ++y) {  // down, it counts twice, each time rounded
    const Position at(y, image.height, geometry.new_height);
    first_row_.push_back(at.first);
    row_weights_[0].push_back(to_weight(1.0f - at.fraction));
    row_weights_[1].push_back(to_weight(at.fraction));
  }

  const int row_bytes = image.width * step;
  const auto safe = std::count_if(columns_.offsets.begin(), columns_.offsets.end(),
                                  [&](std::int32_t offset) { return offset <= row_bytes - row_slack; });
  constexpr std::size_t block = 16;  // columns of the widest kernel: a body of whole blocks has no remainder
  body_ = static_cast<std::size_t>(safe) / block * block;
  const std::size_t tail = columns_.offsets.size() - body_;
  const auto first = columns_.offsets.begin() + static_cast<std::ptrdiff_t>(geometry.mirrored ? 0 : body_);
  tail_offset_ = row_bytes;
  for (std::size_t x = 0; x < tail; ++x) tail_offset_ = std::min(tail_offset_, first[static_cast<std::ptrdiff_t>(x)]);
  for (std::size_t x = 0; x < tail; ++x) first[static_cast<std::ptrdiff_t>(x)] -= tail_offset_;
  for (auto& tail : tail_) tail.assign(static_cast<std::size_t>(row_bytes - tail_offset_ + row_slack), 0);
  geometry_ = geometry;
  step_ = step;
}

RowPair Letterbox::row_pair(const Image& image, std::ptrdiff_t stride, int y) const {
  const auto row = [&](int at) { return image.pixels + std::clamp(at, 0, image.height - 1) * stride; };
  const auto i = static_cast<std::size_t>(y);
  return {{row(first_row_[i]), row(first_row_[i] + 1)}, {row_weights_[0][i], row_weights_[1][i]}};
}

void Letterbox::operator()(const Image& image, const Geometry& geometry, const Tensor& input, int index,
                           bool keep_padding) {
  prepare(image, geometry);
  const ChannelOrder& order = order_of(image.format);
  const auto row_bytes = static_cast<std::ptrdiff_t>(image.width) * order.step;
  const std::ptrdiff_t stride = image.stride ? image.stride : row_bytes;
  const std::ptrdiff_t origin = index * input.batch_stride();
  const std::size_t tail_columns = columns_.offsets.size() - body_;
  const std::size_t body = geometry.mirrored ? tail_columns : 0, tail = geometry.mirrored ? 0 : body_;

  const auto write = [&](auto* base, auto resample, auto pad) {
    if (!keep_padding) {
      for (int c = 0; c < 3; ++c) fill_padding(base + c * input.channel_stride, geometry, pad);
    }
    for (int y = 0; y < geometry.new_height; ++y) {
      RowPair pair = row_pair(image, stride, y);
      auto* row = base + static_cast<std::ptrdiff_t>(geometry.top + y) * geometry.width + geometry.left;
      const auto planes = [&](std::size_t at) {
        auto* to = row + at;
        return std::array{to, to + input.channel_stride, to + 2 * input.channel_stride};
      };
      resample(pair, columns_, body, body_, order, planes(body).data());
      for (int r = 0; r < 2; ++r) {
        std::copy(pair.rows[r] + tail_offset_, pair.rows[r] + row_bytes, tail_[r].begin());
        pair.rows[r] = tail_[r].data();
      }
      resample(pair, columns_, tail, tail_columns, order, planes(tail).data());
    }
  };
  if (input.type == Type::f32) {
    write(static_cast<float*>(input.data) + origin, kernels_->resample_f32, padding);
  } else {
    write(static_cast<std::uint16_t*>(input.data) + origin, kernels_->resample_f16, float_to_half(padding));
  }
}

}  // namespace yolort
