// INT8 convolutions: 1 x 1 over several maps, 3 x 3 over one map, and depthwise 3 x 3.
#include <layer.h>

#include <algorithm>

#include "engines/ncnn/int8/layers.h"
#include "engines/ncnn/int8/map.h"
#include "engines/ncnn/int8/weights.h"

namespace yolort::ncnn_int8 {
namespace {

int sum_of_channels(const std::vector<Range>& ranges) {
  int sum = 0;
  for (const Range& range : ranges) sum += range.channels;
  return sum;
}

/// Shared by both kinds.
class Base : public ncnn::Layer {
 public:
  int load_param(const ncnn::ParamDict& parameters) override {
    outputs_ = parameters.get(0, 0);
    kernel_ = parameters.get(1, 1);
    stride_ = parameters.get(3, 1);
    zero_ = parameters.get(5, 0);
    as_float_ = parameters.get(7, 0) != 0;
    table_ = parameters.get(8, 0) != 0;
    ranges_ = read_ranges(parameters);
    one_blob_only = ranges_.size() == 1;
    return ranges_.empty() ? -1 : 0;
  }
  int forward(const ncnn::Mat& in, ncnn::Mat& out, const ncnn::Option& options) const override {
    return run(&in, 1, out, options);
  }
  int forward(const std::vector<ncnn::Mat>& in, std::vector<ncnn::Mat>& out,
              const ncnn::Option& options) const override {
    return run(in.data(), in.size(), out[0], options);
  }

 protected:
  virtual int run(const ncnn::Mat* in, std::size_t count, ncnn::Mat& out, const ncnn::Option& options) const = 0;

  int outputs_ = 0, kernel_ = 1, stride_ = 1, zero_ = 0;
  bool as_float_ = false, table_ = false;
  std::vector<Range> ranges_;
  Int8Weights weights_;
};

class Convolution final : public Base {
 public:
  int load_model(const ncnn::ModelBin& bin) override {
    const ncnn::Mat values =
        read_weights(bin, outputs_, kernel_ * kernel_ * sum_of_channels(ranges_), table_, weights_);
    if (values.empty()) return -100;
    kernels_->pack(static_cast<const std::int8_t*>(values.data), weights_);
    return 0;
  }

 private:
  static constexpr int max_pixels = Int8Kernels::pixels;

  int run(const ncnn::Mat* in, std::size_t count, ncnn::Mat& out, const ncnn::Option& options) const override {
    std::vector<Map> maps;
    for (std::size_t i = 0; i < count; ++i) maps.emplace_back(in[i]);
    const bool any_doubled = std::any_of(ranges_.begin(), ranges_.end(), [](const Range& one) { return one.doubled; });
    const int up = ranges_[0].doubled ? 2 : 1;
    const int height = (maps[0].height() * up - 1) / stride_ + 1, width = (maps[0].width() * up - 1) / stride_ + 1;
    if (as_float_) {
      out.create(width, height, outputs_, std::size_t{4}, 1, options.blob_allocator);
      if (out.empty()) return -100;
    } else if (!Map::create(out, outputs_, height, width, options)) {
      return -100;
    }
    for_rows(height, options, [&](int first, int end) {
      std::vector<std::uint8_t> enlarged(static_cast<std::size_t>(any_doubled ? max_pixels * weights_.depth : 0));
      for (int y = first; y < end; ++y) run_row(maps, y, width, out, enlarged.data());
    });
    return 0;
  }

  void run_row(const std::vector<Map>& maps, int y, int width, const ncnn::Mat& out, std::uint8_t* enlarged) const {
    Strip strips[max_strips];
    for (int x = 0; x < width; x += max_pixels) {
      const int pixels = std::min(max_pixels, width - x);
      const int count =
          kernel_ == 1 ? strips_1x1(maps, y, x, pixels, strips, enlarged) : strips_3x3(maps[0], y, x, strips);
      if (as_float_) {
        float* to = static_cast<float*>(out.data) + y * std::ptrdiff_t{out.w} + x;
        kernels_->multiply_f32(strips, count, pixels, weights_, to, static_cast<std::ptrdiff_t>(out.cstep));
      } else {
        kernels_->multiply_u8(strips, count, pixels, weights_, Map(out).pixel(y, x), outputs_);
      }
    }
    if (!as_float_) Map(out).fill_border(y, zero_);
  }

  int strips_1x1(const std::vector<Map>& maps, int y, int x, int pixels, Strip* to, std::uint8_t* enlarged) const {
    for (std::size_t i = 0; i < ranges_.size(); ++i) {
      const Range& range = ranges_[i];
      if (!range.doubled) {
        to[i] = {maps[i].pixel(y * stride_, x * stride_) + range.offset, std::ptrdiff_t{stride_} * maps[i].channels(),
                 range.channels / 4};
        continue;
      }
      to[i] = {enlarged, range.channels, range.channels / 4};
      for (int p = 0; p < pixels; ++p, enlarged += range.channels) {
        std::memcpy(enlarged, maps[i].pixel(y / 2, (x + p) / 2) + range.offset,
                    static_cast<std::size_t>(range.channels));
      }
    }
    return static_cast<int>(ranges_.size());
  }

  /// A kernel row is one contiguous strip if the layer reads all channels, otherwise three.
  int strips_3x3(const Map& map, int y, int x, Strip* to) const {
    const Range& range = ranges_[0];
    const std::ptrdiff_t step = std::ptrdiff_t{stride_} * map.channels();
    int count = 0;
    for (int dy = -1; dy <= 1; ++dy) {
      const int row = y * stride_ + dy;
      if (row < 0 || row >= map.height()) {
        for (int dx = 0; dx < 3; ++dx) to[count++] = {map.pixel(0, -1) + range.offset, 0, range.channels / 4};
      } else if (range.channels == map.channels()) {
        to[count++] = {map.pixel(row, x * stride_ - 1), step, 3 * range.channels / 4};
      } else {
        for (int dx = -1; dx <= 1; ++dx) {
          to[count++] = {map.pixel(row, x * stride_ + dx) + range.offset, step, range.channels / 4};
        }
      }
    }
    return count;
  }

  static constexpr int max_strips = 16;  // also the maximum number of inputs of a layer
  const Int8Kernels* kernels_ = &int8_kernels();
};

class Depthwise final : public Base {
 public:
  int load_model(const ncnn::ModelBin& bin) override {
    const ncnn::Mat values = read_weights(bin, outputs_, 9, table_, weights_);
    if (values.empty()) return -100;
    const int wide = (outputs_ + 15) / 16 * 16;  // (9, channels) in place of (channels, 9)
    weights_.packed.assign((static_cast<std::size_t>(9 * wide) + 63) / 64, {});
    auto* packed = reinterpret_cast<std::int8_t*>(weights_.packed.data());
    const auto* from = static_cast<const std::int8_t*>(values.data);
    for (int c = 0; c < outputs_; ++c) {
      for (int k = 0; k < 9; ++k) packed[k * wide + c] = from[c * 9 + k];
    }
    return 0;
  }

 private:
  int run(const ncnn::Mat* in, std::size_t, ncnn::Mat& out, const ncnn::Option& options) const override {
    const Map map(in[0]);
    const int height = (map.height() - 1) / stride_ + 1, width = (map.width() - 1) / stride_ + 1;
    if (!Map::create(out, outputs_, height, width, options)) return -100;
    const Map to(out);
    for_rows(height, options, [&](int first, int end) {
      for (int y = first; y < end; ++y) {
        Strip taps[9];
        for (int k = 0; k < 9; ++k) {
          const int row = y * stride_ + k / 3 - 1;
          const bool inside = row >= 0 && row < map.height();
          taps[k] = {(inside ? map.pixel(row, k % 3 - 1) : map.pixel(0, -1)) + ranges_[0].offset,
                     inside ? std::ptrdiff_t{stride_} * map.channels() : 0, 0};
        }
        kernels_->depthwise(taps, width, outputs_, weights_, to.pixel(y, 0), outputs_);
        to.fill_border(y, zero_);
      }
    });
    return 0;
  }

  const Int8Kernels* kernels_ = &int8_kernels();
};

}  // namespace

ncnn::Layer* make_convolution(void*) { return new Convolution; }
ncnn::Layer* make_depthwise(void*) { return new Depthwise; }

}  // namespace yolort::ncnn_int8
