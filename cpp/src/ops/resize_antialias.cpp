#include "ops/resize_antialias.h"

#include <algorithm>
#include <cmath>

#include "ops/half.h"
#include "ops/letterbox.h"

namespace yolort {

Windows antialiasing_windows(const ResizedSide& side) {
  constexpr int one = 1 << 14;
  const double scale = static_cast<double>(side.source) / side.target, reach = std::max(scale, 1.0);
  Windows out;
  std::vector<std::vector<double>> all;
  for (int i = side.first; i < side.first + side.count; ++i) {
    const double center = (i + 0.5) * scale;
    const int first = std::max(static_cast<int>(center - reach + 0.5), 0);
    const int last = std::min(static_cast<int>(center + reach + 0.5), side.source);
    std::vector<double> weights;
    double sum = 0;
    for (int x = first; x < last; ++x) {
      weights.push_back(std::max(1 - std::abs((x - center + 0.5) / reach), 0.0));
      sum += weights.back();
    }
    for (double& weight : weights) weight /= sum;
    out.first.push_back(first);
    out.counts.push_back(last - first);
    out.taps = std::max(out.taps, (weights.size() + 3) / 4 * 4);
    all.push_back(std::move(weights));
  }
  out.weights.assign(all.size() * out.taps, 0);
  for (std::size_t i = 0; i < all.size(); ++i) {
    double sum = 0;
    long before = 0;
    for (std::size_t k = 0; k < all[i].size(); ++k) {  // the sum is rounded, so that all weights give 1
      sum += all[i][k];
      const long now = std::lrint(sum * one);
      out.weights[i * out.taps + k] = static_cast<std::int16_t>(now - before);
      before = now;
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
  for (std::int32_t& first : across_.first) first -= left_;
  // Behind the last column windows may read what does not count.
  row_.assign((static_cast<std::size_t>(columns_) + across_.taps + row_slack) * static_cast<std::size_t>(step), 0);
}

/// A row of the result: first the source rows become one, then its columns.
void AntialiasedResize::resize_row(const Image& image, int y, const ChannelOrder& order, float* const planes[3]) {
  const auto at = static_cast<std::size_t>(y);
  const std::ptrdiff_t stride = image.stride ? image.stride : static_cast<std::ptrdiff_t>(image.width) * step_;
  const auto count = static_cast<std::size_t>(down_.counts[at]);
  rows_.clear();
  for (std::size_t k = 0; k < count; ++k) {
    rows_.push_back(image.pixels + (down_.first[at] + static_cast<std::ptrdiff_t>(k)) * stride + left_ * step_);
  }
  const std::int16_t* weights = &down_.weights[at * down_.taps];
  if (count % 2) rows_.push_back(rows_.back());  // its weight is 0
  kernels_->weighted_rows(rows_.data(), weights, rows_.size(), static_cast<std::size_t>(columns_ * step_), row_.data());
  const Kernels& kernels = step_ > max_window_step ? scalar_kernels : *kernels_;
  kernels.weighted_windows(row_.data(), across_.first.data(), across_.weights.data(), across_.taps,
                           across_.first.size(), order, planes);
}

void AntialiasedResize::operator()(const Image& image, const Tensor& input, int index, const InputFormat& format) {
  const int channels = input.shape[1], height = input.shape[2], width = input.shape[3];
  if (channels == 1 && channels_of(image) > 1) {
    to_gray(image, gray_);
    return (*this)({gray_.data(), image.width, image.height, 0, PixelFormat::gray}, input, index, format);
  }
  prepare(ClassifierGeometry::fit(image.width, image.height, width, height, format.stretch), channels_of(image));
  const std::vector<ChannelGroup> groups = channel_groups(image, channels, format);
  const std::vector<Affine> affine = affine_of(channels, format);
  for (auto& row : spare_) row.resize(static_cast<std::size_t>(width));
  for (int y = 0; y < height; ++y) {
    const std::ptrdiff_t at = index * input.batch_stride() + static_cast<std::ptrdiff_t>(y) * width;
    // The rows of source pixels are added once for every three channels: mostly there are no more.
    for (const ChannelGroup& group : groups) {
      float* planes[3];
      for (int c = 0; c < 3; ++c) {
        planes[c] = input.type == Type::f16
                        ? spare_[c].data()
                        : static_cast<float*>(input.data) + at + group.planes[c] * input.channel_stride;
      }
      resize_row(image, y, group.order, planes);
      for (int c = 0; c < 3; ++c) {
        if (c && group.planes[c] == group.planes[c - 1]) break;  // repeated
        const Affine own = affine.empty() ? Affine{1, 0} : affine[static_cast<std::size_t>(group.planes[c])];
        if (!affine.empty()) {
          for (int x = 0; x < width; ++x) planes[c][x] = planes[c][x] * own.scale + own.offset;
        }
        if (input.type == Type::f16) {
          std::transform(planes[c], planes[c] + width,
                         static_cast<std::uint16_t*>(input.data) + at + group.planes[c] * input.channel_stride,
                         float_to_half);
        }
      }
    }
  }
}

}  // namespace yolort
