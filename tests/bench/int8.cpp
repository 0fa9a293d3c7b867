// Times the INT8 convolutions of YOLO26n on one thread, and prints the share of the multiplier's peak rate that each
// reaches. Uses the minimum of many runs, so that other load matters little. Build: cmake --preset tests;
// cmake --build --preset tests --target bench_int8; then build/tests/bench_int8.
#include <layer.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>

#include "core/engine.h"
#include "engines/ncnn/int8/layers.h"
#include "engines/ncnn/int8/map.h"

namespace {

using Clock = std::chrono::steady_clock;

struct Kind {
  const char* what;
  int channels, outputs, kernel, stride, side;  // of the output
};

double nanoseconds(const std::function<void()>& run) {
  double best = 1e30;
  const auto end = Clock::now() + std::chrono::milliseconds(300);
  while (Clock::now() < end) {
    const auto start = Clock::now();
    run();
    best = std::min(best, std::chrono::duration<double, std::nano>(Clock::now() - start).count());
  }
  return best;
}

std::unique_ptr<ncnn::Layer> convolution(const Kind& kind) {
  ncnn::ParamDict parameters;
  parameters.set(0, kind.outputs);
  parameters.set(1, kind.kernel);
  parameters.set(3, kind.stride);
  parameters.set(8, 1);
  ncnn::Mat range(3);
  const int numbers[] = {0, kind.channels, 0};
  std::memcpy(range.data, numbers, sizeof(numbers));
  parameters.set(10, range);
  const int depth = kind.kernel * kind.kernel * kind.channels;
  ncnn::Mat weights[4];
  weights[0].create(kind.outputs * depth, std::size_t{1});
  weights[1].create(kind.outputs);
  weights[2].create(kind.outputs);
  weights[3].create(64);
  for (int i = 0; i < kind.outputs * depth; ++i) {
    static_cast<signed char*>(weights[0].data)[i] = static_cast<signed char>(std::rand());
  }
  std::memset(weights[1].data, 0, static_cast<std::size_t>(kind.outputs) * 4);
  weights[2].fill(0.001f);
  std::memset(weights[3].data, 1, 256);
  std::unique_ptr<ncnn::Layer> layer(yolort::ncnn_int8::make_convolution(nullptr));
  if (layer->load_param(parameters) != 0 || layer->load_model(ncnn::ModelBinFromMatArray(weights)) != 0) std::abort();
  return layer;
}

}  // namespace

int main() {
  if (yolort::all_engines().empty()) return 1;  // makes the linker include what libncnn.a needs
  const Kind kinds[] = {
      {"stem", 4, 16, 3, 2, 320},     {"3x3 s2", 16, 32, 3, 2, 160},  {"3x3 s2", 64, 64, 3, 2, 80},
      {"3x3 s2", 128, 128, 3, 2, 40}, {"3x3 s2", 128, 256, 3, 2, 20}, {"3x3", 8, 16, 3, 1, 160},
      {"3x3", 16, 8, 3, 1, 160},      {"3x3", 16, 16, 3, 1, 80},      {"3x3", 32, 32, 3, 1, 40},
      {"3x3", 64, 64, 3, 1, 20},      {"3x3", 64, 16, 3, 1, 80},      {"1x1", 32, 32, 1, 1, 160},
      {"1x1", 48, 64, 1, 1, 160},     {"1x1", 96, 128, 1, 1, 80},     {"1x1", 64, 80, 1, 1, 80},
      {"1x1", 192, 128, 1, 1, 40},    {"1x1", 384, 256, 1, 1, 20},    {"1x1", 512, 256, 1, 1, 20},
  };
  ncnn::Option options;
  options.num_threads = 1;
  std::printf("%s\n%-8s %8s %8s %6s %10s %10s\n", yolort::int8_kernels().name, "", "channels", "outputs", "side", "us",
              "GMAC/s");
  for (const Kind& kind : kinds) {
    const auto layer = convolution(kind);
    ncnn::Mat in, out;
    yolort::ncnn_int8::Map::create(in, kind.channels, kind.side * kind.stride, kind.side * kind.stride, options);
    std::memset(in.data, 3, in.total() * in.elemsize);
    ncnn::PoolAllocator pool;
    options.blob_allocator = &pool;
    const double ns = nanoseconds([&] {
      out.release();
      if (layer->forward(in, out, options) != 0) std::abort();
    });
    const double macs = double{1} * kind.channels * kind.outputs * kind.kernel * kind.kernel * kind.side * kind.side;
    std::printf("%-8s %8d %8d %6d %10.1f %10.1f\n", kind.what, kind.channels, kind.outputs, kind.side, ns / 1000,
                macs / ns);
    out.release();
    options.blob_allocator = nullptr;
  }
}
