// INT8 layers without weights: sums, maxima, quantization and dequantization.
#include <layer.h>

#include <algorithm>
#include <cmath>

#include "engines/ncnn/int8/layers.h"
#include "engines/ncnn/int8/map.h"

namespace yolort::ncnn_int8 {
namespace {

/// Calls row(y) for each row, on the threads of `options`.
template <class Row>
void for_each_row(int height, const ncnn::Option& options, const Row& row) {
  for_rows(height, options, [&](int first, int end) {
    for (int y = first; y < end; ++y) row(y);
  });
}

class Add final : public ncnn::Layer {
 public:
  int load_param(const ncnn::ParamDict& parameters) override {
    sum_ = {parameters.get(1, 0.f), parameters.get(2, 0.f), parameters.get(3, 0.f)};
    zero_ = parameters.get(5, 0);
    ranges_ = read_ranges(parameters);
    return ranges_.size() == 2 ? 0 : -1;
  }
  int forward(const std::vector<ncnn::Mat>& in, std::vector<ncnn::Mat>& out,
              const ncnn::Option& options) const override {
    const Map a(in[0]), b(in[1]);
    const int channels = ranges_[0].channels;
    if (!Map::create(out[0], channels, a.height(), a.width(), options)) return -100;
    const Map to(out[0]);
    for_each_row(a.height(), options, [&](int y) {
      const Strip left{a.pixel(y, 0) + ranges_[0].offset, a.channels(), 0};
      const Strip right{b.pixel(y, 0) + ranges_[1].offset, b.channels(), 0};
      kernels_->add(left, right, a.width(), channels, sum_, to.pixel(y, 0), channels);
      to.fill_border(y, zero_);
    });
    return 0;
  }

 private:
  Int8Sum sum_{};
  int zero_ = 0;
  std::vector<Range> ranges_;
  const Int8Kernels* kernels_ = &int8_kernels();
};

/// to[i] = max(to[i], from[i])
void raise(std::uint8_t* to, const std::uint8_t* from, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) to[i] = std::max(to[i], from[i]);
}

/// Maximum over a square around each pixel; the border is ignored.
class MaxPool final : public ncnn::Layer {
 public:
  MaxPool() { one_blob_only = true; }
  int load_param(const ncnn::ParamDict& parameters) override {
    reach_ = parameters.get(1, 1) / 2;
    zero_ = parameters.get(5, 0);
    ranges_ = read_ranges(parameters);
    return ranges_.size() == 1 ? 0 : -1;
  }
  int forward(const ncnn::Mat& in, ncnn::Mat& out, const ncnn::Option& options) const override {
    const Map map(in);
    const int width = map.width(), channels = ranges_[0].channels;
    if (!Map::create(out, channels, map.height(), width, options)) return -100;
    const Map to(out);
    for_each_row(map.height(), options, [&](int y) {
      const auto bytes = static_cast<std::size_t>(channels);
      const int first = std::max(0, y - reach_), last = std::min(map.height() - 1, y + reach_);
      std::vector<std::uint8_t> columns(static_cast<std::size_t>(width) * bytes);  // the maxima of each
      for (int x = 0; x < width; ++x) {
        std::uint8_t* column = columns.data() + static_cast<std::size_t>(x) * bytes;
        std::memcpy(column, map.pixel(first, x) + ranges_[0].offset, bytes);
        for (int row = first + 1; row <= last; ++row) raise(column, map.pixel(row, x) + ranges_[0].offset, bytes);
      }
      for (int x = 0; x < width; ++x) {
        const int left = std::max(0, x - reach_), right = std::min(width - 1, x + reach_);
        std::memcpy(to.pixel(y, x), columns.data() + static_cast<std::size_t>(left) * bytes, bytes);
        for (int k = left + 1; k <= right; ++k) {
          raise(to.pixel(y, x), columns.data() + static_cast<std::size_t>(k) * bytes, bytes);
        }
      }
      to.fill_border(y, zero_);
    });
    return 0;
  }

 private:
  int reach_ = 0, zero_ = 0;
  std::vector<Range> ranges_;
};

/// Converts a planar float map to INT8. Three channels become pixels of four bytes.
class Quantize final : public ncnn::Layer {
 public:
  Quantize() { one_blob_only = true; }
  int load_param(const ncnn::ParamDict& parameters) override {
    scale_ = parameters.get(1, 1.f);
    zero_ = parameters.get(5, 0);
    return 0;
  }
  int forward(const ncnn::Mat& in, ncnn::Mat& out, const ncnn::Option& options) const override {
    if (in.dims != 3 || in.elemsize != 4) return -1;
    if (!Map::create(out, (in.c + 3) / 4 * 4, in.h, in.w, options)) return -100;
    const Map to(out);
    for_each_row(in.h, options, [&](int y) {
      if (in.c == 3) {
        const float* planes[3];
        for (int c = 0; c < 3; ++c) planes[c] = in.channel(c).row(y);
        kernels_->quantize_rgb(planes, static_cast<std::size_t>(in.w), scale_, zero_, to.pixel(y, 0));
      } else {
        row(in, y, to);
      }
      to.fill_border(y, zero_);
    });
    return 0;
  }

 private:
  void row(const ncnn::Mat& in, int y, const Map& to) const {
    const float low = static_cast<float>(-zero_), high = static_cast<float>(255 - zero_);
    for (int c = 0; c < to.channels(); ++c) {
      const float* from = c < in.c ? in.channel(c).row(y) : nullptr;
      std::uint8_t* at = to.pixel(y, 0) + c;
      for (int x = 0; x < in.w; ++x, at += to.channels()) {
        const float scaled = from ? from[x] * scale_ : 0.f, above = scaled > low ? scaled : low;  // NaN: low
        *at = static_cast<std::uint8_t>(static_cast<int>(std::nearbyint(above < high ? above : high)) + zero_);
      }
    }
  }

  float scale_ = 1;
  int zero_ = 0;
  const Int8Kernels* kernels_ = &int8_kernels();
};

/// Converts channels of an INT8 map to planar floats.
class Dequantize final : public ncnn::Layer {
 public:
  Dequantize() { one_blob_only = true; }
  int load_param(const ncnn::ParamDict& parameters) override {
    step_ = parameters.get(1, 1.f);
    zero_ = parameters.get(5, 0);
    ranges_ = read_ranges(parameters);
    return ranges_.size() == 1 ? 0 : -1;
  }
  int forward(const ncnn::Mat& in, ncnn::Mat& out, const ncnn::Option& options) const override {
    const Map map(in);
    const Range range = ranges_[0];
    out.create(map.width(), map.height(), range.channels, std::size_t{4}, 1, options.blob_allocator);
    if (out.empty()) return -100;
    for_each_row(map.height(), options, [&](int y) {
      for (int c = 0; c < range.channels; ++c) {
        const std::uint8_t* from = map.pixel(y, 0) + range.offset + c;
        float* to = out.channel(c).row(y);
        for (int x = 0; x < map.width(); ++x, from += map.channels()) to[x] = static_cast<float>(*from - zero_) * step_;
      }
    });
    return 0;
  }

 private:
  float step_ = 1;
  int zero_ = 0;
  std::vector<Range> ranges_;
};

}  // namespace

ncnn::Layer* make_add(void*) { return new Add; }
ncnn::Layer* make_max_pool(void*) { return new MaxPool; }
ncnn::Layer* make_quantize(void*) { return new Quantize; }
ncnn::Layer* make_dequantize(void*) { return new Dequantize; }

}  // namespace yolort::ncnn_int8
