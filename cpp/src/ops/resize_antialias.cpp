#include "ops/resize_antialias.h"

#include <algorithm>
#include <cmath>

#include "ops/half.h"
#include "ops/letterbox.h"

namespace yolort {

Windows antialiasing_windows(const ResizedSide& side) {
  const double scale = static_cast<double>(side.source) / side.target, reach = std::max(scale, 1.0);
  Windows out;
  std::vector<std::vector<double>> all;
  for (int i = side.first; i < side.first + side.count; ++i) {
    const double center = (i + 0.5) * scale;
    const int first = std::max(static_cast<int>(center - reach + 0.5), 0);
    const int last = std::min(static_cast<int>(center + reach + 0.5), side.source);
    const double inverse = 1.0 / reach;
    std::vector<double> weights;
    double sum = 0;
    for (int x = first; x < last; ++x) {
      weights.push_back(std::max(1 - std::abs((x - center + 0.5) * inverse), 0.0));
      sum += weights.back();
    }
    for (double& weight : weights) weight /= sum;
    out.first.push_back(first);
    out.counts.push_back(last - first);
    out.taps = std::max(out.taps, (weights.size() + 3) / 4 * 4);
    all.push_back(std::move(weights));
  }
  out.weights.assign(all.size() * out.taps, {0, 0});
  for (std::size_t i = 0; i < all.size(); ++i) {
    for (std::size_t k = 0; k < all[i].size(); ++k) {
      const int weight = static_cast<int>(all[i][k] * (1 << 22) + 0.5);
      out.weights[i * out.taps + k] = {static_cast<std::int16_t>(weight >> 11),
                                       static_cast<std::int16_t>(weight & 0x7FF)};
    }
  }
  return out;
}

ClassifierGeometry ClassifierGeometry::fit(int source_width, int source_height, int width, int height, bool stretch) {
  if (width != height || stretch) return {{source_width, width, 0, width}, {source_height, height, 0, height}};
  const int shorter = std::min(source_width, source_height);
  const auto side = [&](int source) {
    const int target = source == shorter ? width : static_cast<int>(static_cast<double>(width) * source / shorter);
    return ResizedSide{source, target, static_cast<int>(std::nearbyint((target - width) / 2.0)), width};
  };
  return {side(source_width), side(source_height)};
}

void AntialiasedResize::prepare(const ClassifierGeometry& geometry, int step) {
  if (geometry.across == geometry_.across && geometry.down == geometry_.down && step == step_) return;
  geometry_ = geometry;
  step_ = step;
  across_ = antialiasing_windows(geometry.across);
  down_ = antialiasing_windows(geometry.down);
  left_ = across_.first.front();
  columns_ = across_.first.back() + across_.counts.back() - left_;
  top_ = down_.first.front();
  height_ = down_.first.back() + down_.counts.back() - top_;
  for (std::int32_t& first : across_.first) first -= left_;
  // Windows may read past the last column; those values have weight 0.
  row_.assign((static_cast<std::size_t>(columns_) + across_.taps) * static_cast<std::size_t>(step) + row_slack, 0);
  resized_.resize(static_cast<std::size_t>(height_) * across_.first.size() * 3);
}

/// Resizes every source row to the columns of the result.
void AntialiasedResize::resize_rows(const Image& image, const ChannelOrder& order) {
  const Kernels& kernels = step_ > max_window_step ? scalar_kernels : *kernels_;
  const std::ptrdiff_t stride = image.stride ? image.stride : static_cast<std::ptrdiff_t>(image.width) * step_;
  const std::size_t width = across_.first.size(), bytes = static_cast<std::size_t>(columns_ * step_);
  for (int y = 0; y < height_; ++y) {
    const std::uint8_t* from = image.pixels + (top_ + y) * stride + static_cast<std::ptrdiff_t>(left_) * step_;
    std::copy(from, from + bytes, row_.begin());
    std::uint8_t* to = &resized_[static_cast<std::size_t>(y) * 3 * width];
    std::uint8_t* const planes[3] = {to, to + width, to + 2 * width};
    kernels.weighted_windows(row_.data(), across_.first.data(), across_.weights.data(), across_.taps / 4, width, order,
                             planes);
  }
}

void AntialiasedResize::operator()(const Image& image, const Tensor& input, int index, const InputFormat& format) {
  const int channels = input.shape[1], height = input.shape[2], width = input.shape[3];
  if (channels == 1 && channels_of(image) > 1) {
    to_gray(image, gray_);
    return (*this)({gray_.data(), image.width, image.height, 0, PixelFormat::gray}, input, index, format);
  }
  prepare(ClassifierGeometry::fit(image.width, image.height, width, height, format.stretch.value_or(false)),
          channels_of(image));
  const std::vector<Affine> affine = affine_of(channels, format);
  const std::size_t row = 3 * static_cast<std::size_t>(width);
  values_.resize(row);
  for (const ChannelGroup& group : channel_groups(image, channels, format)) {
    resize_rows(image, group.order);
    for (int y = 0; y < height; ++y) {
      const auto at = static_cast<std::size_t>(y);
      const auto count = static_cast<std::size_t>(down_.counts[at]);
      rows_.clear();
      for (std::size_t k = 0; k < count; ++k) {
        rows_.push_back(&resized_[(static_cast<std::size_t>(down_.first[at] - top_) + k) * row]);
      }
      if (count % 2) rows_.push_back(rows_.back());  // its weight is 0
      kernels_->weighted_rows(rows_.data(), &down_.weights[at * down_.taps], rows_.size(), row, values_.data());
      for (int c = 0; c < 3; ++c) {
        const int plane = group.planes[c];
        if (c && plane == group.planes[c - 1]) break;  // repeated
        float* values = &values_[static_cast<std::size_t>(c * width)];
        if (!affine.empty()) {
          const Affine own = affine[static_cast<std::size_t>(plane)];
          for (int x = 0; x < width; ++x) values[x] = values[x] * own.scale + own.offset;
        }
        const std::ptrdiff_t to =
            index * input.batch_stride() + plane * input.channel_stride + static_cast<std::ptrdiff_t>(y) * width;
        if (input.type == Type::f32) {
          std::copy(values, values + width, static_cast<float*>(input.data) + to);
        } else {
          std::transform(values, values + width, static_cast<std::uint16_t*>(input.data) + to, float_to_half);
        }
      }
    }
  }
}

}  // namespace yolort
