// Compares the INT8 layers with their definition, on maps of odd sizes, with one and several threads.
#include <layer.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <random>

#include "check.h"
#include "core/engine.h"
#include "engines/ncnn/int8/layers.h"
#include "engines/ncnn/int8/map.h"

using namespace yolort;
using namespace yolort::ncnn_int8;

namespace {

std::mt19937 engine(3);
int random(int low, int high) { return std::uniform_int_distribution<int>(low, high)(engine); }

ncnn::Option options;

ncnn::Mat random_map(int channels, int height, int width, int zero) {
  ncnn::Mat out;
  Map::create(out, channels, height, width, options);
  const Map map(out);
  for (int y = 0; y < height; ++y) {
    for (int i = 0; i < width * channels; ++i) map.pixel(y, 0)[i] = static_cast<std::uint8_t>(random(0, 255));
    map.fill_border(y, zero);
  }
  return out;
}

struct Convolution {
  int outputs, kernel, stride;
  bool as_float, table;
  std::vector<Range> ranges;
  int depth = 0;
  std::vector<std::int8_t> values;
  std::vector<std::int32_t> bias;
  std::vector<float> scale;
  std::vector<std::uint8_t> bytes;

  Convolution(int n, int k, int s, bool f, bool t, std::vector<Range> r, int weights_of_each)
      : outputs(n), kernel(k), stride(s), as_float(f), table(t), ranges(std::move(r)), depth(weights_of_each) {
    for (int i = 0; i < outputs * depth; ++i) values.push_back(static_cast<std::int8_t>(random(-127, 127)));
    for (int i = 0; i < outputs; ++i) bias.push_back(random(-5000, 5000));
    for (int i = 0; i < outputs; ++i) scale.push_back(static_cast<float>(random(1, 100)) * 1e-4f);
    for (int i = 0; i < 256; ++i) bytes.push_back(static_cast<std::uint8_t>(random(0, 255)));
  }

  std::unique_ptr<ncnn::Layer> layer(ncnn::Layer* (*make)(void*)) const {
    ncnn::ParamDict parameters;
    const int keys[][2] = {{0, outputs}, {1, kernel}, {3, stride}, {5, 7}, {7, as_float}, {8, table}};
    for (const auto& [key, value] : keys) parameters.set(key, value);
    ncnn::Mat numbers(static_cast<int>(3 * ranges.size()));
    for (std::size_t i = 0; i < ranges.size(); ++i) {
      const int three[] = {ranges[i].offset, ranges[i].channels, ranges[i].doubled};
      std::memcpy(static_cast<int*>(numbers.data) + 3 * i, three, sizeof(three));
    }
    parameters.set(10, numbers);
    ncnn::Mat weights[4];
    const auto fill = [&](int i, const void* from, int count, std::size_t size) {
      weights[i].create(count, size);
      std::memcpy(weights[i].data, from, static_cast<std::size_t>(count) * size);
    };
    fill(0, values.data(), outputs * depth, 1);
    fill(1, bias.data(), outputs, 4);
    fill(2, scale.data(), outputs, 4);
    fill(3, bytes.data(), 64, 4);
    std::unique_ptr<ncnn::Layer> out(make(nullptr));
    CHECK(out->load_param(parameters) == 0);
    CHECK(out->load_model(ncnn::ModelBinFromMatArray(weights)) == 0);
    return out;
  }

  /// Output n of a pixel: a byte or a float.
  float value(int n, std::int64_t sum) const {
    const auto o = static_cast<std::size_t>(n);
    const float scaled = static_cast<float>(static_cast<std::int32_t>(sum + bias[o])) * scale[o];
    if (as_float) return scaled;
    const float byte = std::min(255.f, std::max(0.f, std::nearbyint(scaled)));
    return table ? bytes[static_cast<std::size_t>(byte)] : byte;
  }
};

int pixel_of(const ncnn::Mat& mat, int y, int x, int channel, bool doubled) {
  const Map map(mat);
  if (doubled) y /= 2, x /= 2;
  const bool inside = y >= 0 && y < map.height() && x >= 0 && x < map.width();
  return inside ? map.pixel(y, x)[channel] : map.pixel(0, -1)[channel];  // the border holds the zero
}

float result_of(const ncnn::Mat& out, bool as_float, int n, int y, int x) {
  return as_float ? out.channel(n).row(y)[x] : static_cast<float>(Map(out).pixel(y, x)[n]);
}

void check_convolution(const Convolution& one, const std::vector<ncnn::Mat>& in, const char* what) {
  const auto layer = one.layer(make_convolution);
  std::vector<ncnn::Mat> out(1);
  const bool alone = in.size() == 1;
  CHECK((alone ? layer->forward(in[0], out[0], options) : layer->forward(in, out, options)) == 0);
  const int up = one.ranges[0].doubled ? 2 : 1;
  const int height = (Map(in[0]).height() * up - 1) / one.stride + 1;
  const int width = (Map(in[0]).width() * up - 1) / one.stride + 1;
  bool same = true;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int n = 0; n < one.outputs; ++n) {
        std::int64_t sum = 0;
        const std::int8_t* w = one.values.data() + n * one.depth;
        for (int k = 0; k < one.kernel * one.kernel; ++k) {
          const int row = y * one.stride + k / one.kernel - one.kernel / 2;
          const int column = x * one.stride + k % one.kernel - one.kernel / 2;
          for (std::size_t i = 0; i < in.size(); ++i) {
            for (int c = 0; c < one.ranges[i].channels; ++c) {
              sum += *w++ * pixel_of(in[i], row, column, one.ranges[i].offset + c, one.ranges[i].doubled);
            }
          }
        }
        same &= result_of(out[0], one.as_float, n, y, x) == one.value(n, sum);
      }
    }
    if (!one.as_float) same &= *Map(out[0]).pixel(y, -1) == 7 && *Map(out[0]).pixel(y, width) == 7;
  }
  if (!same) check::fail(__FILE__, __LINE__, what);
}

void test_convolutions() {
  const ncnn::Mat map = random_map(16, 13, 23, 99);
  const ncnn::Mat other = random_map(8, 13, 23, 5), small = random_map(12, 7, 11, 40), wide = random_map(8, 14, 22, 1);
  check_convolution({20, 1, 1, false, true, {{0, 16, false}}, 16}, {map}, "1 x 1");
  check_convolution({8, 1, 2, false, false, {{4, 8, false}}, 8}, {map}, "1 x 1, stride 2");
  check_convolution({3, 1, 1, true, false, {{0, 16, false}, {4, 4, false}}, 20}, {map, other}, "1 x 1 to floats");
  check_convolution({36, 1, 1, false, true, {{4, 8, true}, {0, 8, false}}, 16}, {small, wide}, "1 x 1, enlarged");
  for (const int stride : {1, 2}) {
    check_convolution({16, 3, stride, false, true, {{0, 16, false}}, 144}, {map}, "3 x 3");
    check_convolution({40, 3, stride, false, false, {{8, 4, false}}, 36}, {map}, "3 x 3, some channels");
    check_convolution({5, 3, stride, true, false, {{0, 16, false}}, 144}, {map}, "3 x 3 to floats");
  }
}

void test_depthwise() {
  const ncnn::Mat map = random_map(24, 9, 13, 99);
  for (const int stride : {1, 2}) {
    const Convolution one(20, 3, stride, false, stride == 1, {{4, 20, false}}, 9);
    const auto layer = one.layer(make_depthwise);
    ncnn::Mat out;
    CHECK(layer->forward(map, out, options) == 0);
    bool same = true;
    for (int y = 0; y < (9 - 1) / stride + 1; ++y) {
      for (int x = 0; x < (13 - 1) / stride + 1; ++x) {
        for (int n = 0; n < 20; ++n) {
          std::int64_t sum = 0;
          for (int k = 0; k < 9; ++k) {
            const int tap = pixel_of(map, y * stride + k / 3 - 1, x * stride + k % 3 - 1, 4 + n, false);
            sum += one.values[static_cast<std::size_t>(9 * n + k)] * tap;
          }
          same &= result_of(out, false, n, y, x) == one.value(n, sum);
        }
      }
    }
    CHECK(same);
  }
}

void test_pool_and_floats() {
  const ncnn::Mat map = random_map(12, 9, 13, 250);
  ncnn::ParamDict parameters;
  ncnn::Mat range(3);
  const int numbers[] = {4, 8, 0};
  std::memcpy(range.data, numbers, sizeof(numbers));
  parameters.set(1, 5);
  parameters.set(5, 250);
  parameters.set(10, range);
  std::unique_ptr<ncnn::Layer> pool(make_max_pool(nullptr)), floats(make_dequantize(nullptr)),
      bytes(make_quantize(nullptr));
  ncnn::Mat most, real, back;
  CHECK(pool->load_param(parameters) == 0 && pool->forward(map, most, options) == 0);
  parameters.set(1, 0.25f);
  CHECK(floats->load_param(parameters) == 0 && floats->forward(map, real, options) == 0);
  parameters.set(1, 4.f);
  CHECK(bytes->load_param(parameters) == 0 && bytes->forward(real, back, options) == 0);
  bool same = true;
  for (int y = 0; y < 9; ++y) {
    for (int x = 0; x < 13; ++x) {
      for (int c = 0; c < 8; ++c) {
        int largest = 0;  // the border (250) is ignored
        for (int v = std::max(0, y - 2); v <= std::min(8, y + 2); ++v) {
          for (int u = std::max(0, x - 2); u <= std::min(12, x + 2); ++u) {
            largest = std::max(largest, pixel_of(map, v, u, 4 + c, false));
          }
        }
        const int byte = pixel_of(map, y, x, 4 + c, false);
        same &= Map(most).pixel(y, x)[c] == largest && real.channel(c).row(y)[x] == static_cast<float>(byte - 250) / 4;
        same &= Map(back).pixel(y, x)[c] == byte;
      }
    }
    same &= *Map(most).pixel(y, -1) == 250 && *Map(back).pixel(y, 13) == 250;
  }
  CHECK(same);
}

}  // namespace

int main() {
  CHECK(!all_engines().empty());  // so that the linker includes what libncnn.a needs from libyolort.a
  for (const int threads : {1, 3}) {
    options.num_threads = threads;
    test_convolutions();
    test_depthwise();
    test_pool_and_floats();
  }
  return check::result();
}
