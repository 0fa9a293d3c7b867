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
    case PixelFormat::channels: break;  // has no colors
  }
  throw std::invalid_argument("image: unknown pixel format");
}

int channels_of(const Image& image) {
  return image.format == PixelFormat::channels ? image.channels : order_of(image.format).step;
}

void check_image(const Image& image) {
  if (image.width < 1 || image.height < 1 || image.width > Image::max_side || image.height > Image::max_side) {
    throw std::invalid_argument("image: " + std::to_string(image.width) + " x " + std::to_string(image.height) +
                                " pixels, expected 1 to " + std::to_string(Image::max_side) + " per side");
  }
  if (!image.pixels) throw std::invalid_argument("image: no pixels (null pointer)");
  const int channels = channels_of(image);
  if (channels < 1 || channels > max_channels) {
    throw std::invalid_argument("image: " + std::to_string(channels) + " channels, expected 1 to " +
                                std::to_string(max_channels));
  }
  const std::ptrdiff_t packed = static_cast<std::ptrdiff_t>(image.width) * channels;
  if (image.stride != 0 && std::abs(image.stride) < packed) {
    throw std::invalid_argument("image: a stride of " + std::to_string(image.stride) + " bytes is less than a row of " +
                                std::to_string(packed));
  }
}

void check_channels(const Image& image, int channels) {
  const int own = channels_of(image);
  const bool color = image.format != PixelFormat::channels && (channels == 3 || channels == 1);
  if (color || own == channels) return;
  throw std::invalid_argument("image: it has " + std::to_string(own) + " channel(s), but the model takes " +
                              std::to_string(channels) + "; pass height x width x " + std::to_string(channels) +
                              " values");
}

void to_gray(const Image& image, std::vector<std::uint8_t>& gray) {
  const ChannelOrder& order = order_of(image.format);
  const auto width = static_cast<std::size_t>(image.width), step = static_cast<std::size_t>(order.step);
  const std::ptrdiff_t stride = image.stride ? image.stride : image.width * order.step;
  gray.resize(width * static_cast<std::size_t>(image.height));
  std::uint8_t* to = gray.data();
  for (int y = 0; y < image.height; ++y, to += width) {
    const std::uint8_t* from = image.pixels + y * stride;
    const std::uint8_t *r = from + order.rgb[0], *g = from + order.rgb[1], *b = from + order.rgb[2];
    for (std::size_t x = 0; x < width; ++x) {  // weights of Rec. 601 in Q15
      to[x] =
          static_cast<std::uint8_t>((r[x * step] * 9798u + g[x * step] * 19235u + b[x * step] * 3735u + 16384u) >> 15);
    }
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

void Letterbox::prepare(const Image& image, const Geometry& geometry, int step) {
  if (geometry == geometry_ && step == step_) return;
  columns_ = {};
  for (int x = 0; x < geometry.new_width; ++x) {
    Position at(x, image.width, geometry.new_width);
    if (at.first < 0 || at.first >= image.width - 1) {  // horizontally, only the edge pixel is used
      at.first = std::clamp(at.first, 0, image.width - 1);
      at.fraction = 0;
    }
    std::uint32_t left = static_cast<std::uint16_t>(to_weight(1.0f - at.fraction));
    std::uint32_t right = static_cast<std::uint16_t>(to_weight(at.fraction));
    if (geometry.mirrored) {  // mirrored: the pair is read in reverse
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
  for (int y = 0; y < geometry.new_height; ++y) {  // vertically, it is used twice, each time rounded
    const Position at(y, image.height, geometry.new_height);
    first_row_.push_back(at.first);
    row_weights_[0].push_back(to_weight(1.0f - at.fraction));
    row_weights_[1].push_back(to_weight(at.fraction));
  }

  const int row_bytes = image.width * step, slack = std::max(row_slack, 2 * step);
  const auto safe = std::count_if(columns_.offsets.begin(), columns_.offsets.end(),
                                  [&](std::int32_t offset) { return offset <= row_bytes - slack; });
  constexpr std::size_t block = 16;  // columns per block of the widest kernel; a multiple of it leaves no remainder
  body_ = static_cast<std::size_t>(safe) / block * block;
  const std::size_t tail = columns_.offsets.size() - body_;
  const auto first = columns_.offsets.begin() + static_cast<std::ptrdiff_t>(geometry.mirrored ? 0 : body_);
  tail_offset_ = row_bytes;
  for (std::size_t x = 0; x < tail; ++x) tail_offset_ = std::min(tail_offset_, first[static_cast<std::ptrdiff_t>(x)]);
  for (std::size_t x = 0; x < tail; ++x) first[static_cast<std::ptrdiff_t>(x)] -= tail_offset_;
  for (auto& tail : tail_) tail.assign(static_cast<std::size_t>(row_bytes - tail_offset_ + slack), 0);
  geometry_ = geometry;
  step_ = step;
}

RowPair Letterbox::row_pair(const Image& image, std::ptrdiff_t stride, int y) const {
  const auto row = [&](int at) { return image.pixels + std::clamp(at, 0, image.height - 1) * stride; };
  const auto i = static_cast<std::size_t>(y);
  return {{row(first_row_[i]), row(first_row_[i] + 1)}, {row_weights_[0][i], row_weights_[1][i]}};
}

std::vector<ChannelGroup> channel_groups(const Image& image, int channels, const InputFormat& format) {
  if (channels == 3 && image.format != PixelFormat::channels) {
    return {{order_of(image.format), {format.bgr ? 2 : 0, 1, format.bgr ? 0 : 2}}};
  }
  std::vector<ChannelGroup> out;
  for (int first = 0; first < channels; first += 3) {
    ChannelGroup group{{channels, {}}, {}};
    for (int c = 0; c < 3; ++c) group.order.rgb[c] = group.planes[c] = std::min(first + c, channels - 1);
    out.push_back(group);
  }
  return out;
}

std::vector<Affine> affine_of(int channels, const InputFormat& format) {
  if (format.mean.empty() && format.stddev.empty()) return {};
  std::vector<Affine> out;
  const auto value = [](const std::vector<float>& values, int c, float otherwise) {
    return values.empty() ? otherwise : values.size() == 1 ? values[0] : values[static_cast<std::size_t>(c)];
  };
  for (int c = 0; c < channels; ++c) {
    const float scale = 1 / value(format.stddev, c, 1);
    out.push_back({scale, -value(format.mean, c, 0) * scale});
  }
  return out;
}

namespace {

float to_float(float value) { return value; }
float to_float(std::uint16_t value) { return half_to_float(value); }
void set(float& to, float value) { to = value; }
void set(std::uint16_t& to, float value) { to = float_to_half(value); }

}  // namespace

template <class T, class Resample>
void Letterbox::write(const Image& image, const Geometry& geometry, const Tensor& input, T* base, bool keep_padding,
                      Resample resample) {
  const auto row_bytes = static_cast<std::ptrdiff_t>(image.width) * step_;
  const std::ptrdiff_t stride = image.stride ? image.stride : row_bytes;
  const std::size_t tail_columns = columns_.offsets.size() - body_;
  const std::size_t body = geometry.mirrored ? tail_columns : 0, tail = geometry.mirrored ? 0 : body_;
  for (int c = 0; !keep_padding && c < input.shape[1]; ++c) {
    T pad;
    const Affine to = affine_.empty() ? Affine{1, 0} : affine_[static_cast<std::size_t>(c)];
    set(pad, padding * to.scale + to.offset);
    fill_padding(base + c * input.channel_stride, geometry, pad);
  }
  for (int y = 0; y < geometry.new_height; ++y) {
    const RowPair pair = row_pair(image, stride, y);
    RowPair last = pair;
    for (int r = 0; r < 2; ++r) {
      std::copy(pair.rows[r] + tail_offset_, pair.rows[r] + row_bytes, tail_[r].begin());
      last.rows[r] = tail_[r].data();
    }
    T* row = base + static_cast<std::ptrdiff_t>(geometry.top + y) * geometry.width + geometry.left;
    for (const ChannelGroup& group : groups_) {
      const auto planes = [&](std::size_t at) {
        const auto plane = [&](int c) { return row + at + group.planes[c] * input.channel_stride; };
        return std::array{plane(0), plane(1), plane(2)};
      };
      resample(pair, columns_, body, body_, group.order, planes(body).data());
      resample(last, columns_, tail, tail_columns, group.order, planes(tail).data());
    }
    for (std::size_t c = 0; c < affine_.size(); ++c) {
      T* to = row + static_cast<std::ptrdiff_t>(c) * input.channel_stride;
      for (int x = 0; x < geometry.new_width; ++x) set(to[x], to_float(to[x]) * affine_[c].scale + affine_[c].offset);
    }
  }
}

void Letterbox::operator()(const Image& image, const Geometry& geometry, const Tensor& input, int index,
                           bool keep_padding, const InputFormat& format) {
  const int channels = input.shape[1];
  if (channels == 1 && channels_of(image) > 1) {
    to_gray(image, gray_);
    const Image gray{gray_.data(), image.width, image.height, 0, PixelFormat::gray};
    return (*this)(gray, geometry, input, index, keep_padding, format);
  }
  prepare(image, geometry, channels_of(image));
  groups_ = channel_groups(image, channels, format);
  affine_ = affine_of(channels, format);
  const Kernels& kernels = step_ > max_step ? scalar_kernels : *kernels_;
  const std::ptrdiff_t origin = index * input.batch_stride();
  if (input.type == Type::f32) {
    write(image, geometry, input, static_cast<float*>(input.data) + origin, keep_padding, kernels.resample_f32);
  } else {
    write(image, geometry, input, static_cast<std::uint16_t*>(input.data) + origin, keep_padding, kernels.resample_f16);
  }
}

}  // namespace yolort
