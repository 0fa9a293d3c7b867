#include "ops/resize_antialias.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "check.h"
#include "ops/half.h"

using namespace yolort;

namespace {

std::vector<std::uint8_t> noise(std::size_t n) {
  std::mt19937 random(1);
  std::vector<std::uint8_t> out(n);
  for (auto& value : out) value = static_cast<std::uint8_t>(random());
  return out;
}

std::vector<float> run(const Kernels& table, const Image& image, int channels, int height, int width,
                       const InputFormat& format = {}) {
  std::vector<float> out(static_cast<std::size_t>(channels * height * width), -1.0f);
  AntialiasedResize resize(table);
  resize(image, {out.data(), {1, channels, height, width}, static_cast<std::ptrdiff_t>(height) * width, Type::f32}, 0,
         format);
  return out;
}

/// The triangle filter in doubles, of one channel of packed pixels.
double expected(const std::vector<std::uint8_t>& pixels, int step, int channel, const ClassifierGeometry& g, int x,
                int y) {
  const auto weights = [](const ResizedSide& side, int at) {
    const double scale = static_cast<double>(side.source) / side.target, reach = std::max(scale, 1.0);
    const double center = (side.first + at + 0.5) * scale;
    std::vector<double> out(static_cast<std::size_t>(side.source));
    for (int i = 0; i < side.source; ++i) {
      out[static_cast<std::size_t>(i)] = std::max(0.0, 1 - std::fabs((i + 0.5 - center) / reach));
    }
    const double sum = std::accumulate(out.begin(), out.end(), 0.0);
    for (double& weight : out) weight /= sum;
    return out;
  };
  const std::vector<double> across = weights(g.across, x), down = weights(g.down, y);
  double sum = 0;
  for (std::size_t row = 0; row < down.size(); ++row) {
    for (std::size_t column = 0; down[row] != 0 && column < across.size(); ++column) {
      sum += down[row] * across[column] * pixels[(row * across.size() + column) * step + channel];
    }
  }
  return sum;
}

void test_every_table_and_size() {
  for (const auto& [width, height] : {std::pair{97, 61}, {33, 200}, {20, 20}, {500, 31}, {32, 32}, {1, 9}, {9, 1}}) {
    const std::vector<std::uint8_t> pixels = noise(static_cast<std::size_t>(width * height * 3));
    const Image image{pixels.data(), width, height};
    for (const auto& [h, w] : {std::pair{32, 32}, {24, 40}}) {
      const ClassifierGeometry g = ClassifierGeometry::fit(width, height, w, h, false);
      const std::vector<float> reference = run(scalar_kernels, image, 3, h, w);
      double worst = 0;
      for (int c = 0; c < 3; ++c) {
        for (int y = 0; y < h; ++y) {
          for (int x = 0; x < w; ++x) {
            const double level = 255.0 * reference[static_cast<std::size_t>((c * h + y) * w + x)];
            worst = std::max(worst, std::fabs(level - expected(pixels, 3, 2 - c, g, x, y)));
          }
        }
      }
      CHECK(worst < 1.01);  // it is rounded to whole levels twice
      for (const Kernels* table : available_kernels()) CHECK(run(*table, image, 3, h, w) == reference);
    }
  }
}

void test_formats_and_channels() {
  const int width = 57, height = 43;
  for (const PixelFormat format : {PixelFormat::rgb, PixelFormat::bgra, PixelFormat::gray}) {
    const int step = format == PixelFormat::rgb ? 3 : format == PixelFormat::gray ? 1 : 4;
    const std::vector<std::uint8_t> pixels = noise(static_cast<std::size_t>(width * height * step));
    const Image image{pixels.data(), width, height, 0, format};
    const std::vector<float> reference = run(scalar_kernels, image, 3, 32, 32);
    for (const Kernels* table : available_kernels()) CHECK(run(*table, image, 3, 32, 32) == reference);
  }
  const std::vector<std::uint8_t> pixels = noise(static_cast<std::size_t>(width * height * 7));
  Image seven{pixels.data(), width, height, 0, PixelFormat::channels};
  seven.channels = 7;
  const ClassifierGeometry g = ClassifierGeometry::fit(width, height, 32, 32, false);
  for (const Kernels* table : available_kernels()) {
    const std::vector<float> out = run(*table, seven, 7, 32, 32);
    for (int c = 0; c < 7; ++c) {
      const double level = 255.0 * out[static_cast<std::size_t>((c * 32 + 5) * 32 + 9)];
      CHECK(std::fabs(level - expected(pixels, 7, c, g, 9, 5)) < 1.01);
    }
  }
}

void test_mean_half_and_one_resize_for_changing_images() {
  AntialiasedResize resize;
  InputFormat format;
  format.mean = {0.5f};
  format.stddev = {0.25f};
  for (const auto& [width, height] : {std::pair{40, 30}, {30, 40}, {40, 30}}) {
    const std::vector<std::uint8_t> pixels = noise(static_cast<std::size_t>(width * height * 3));
    const Image image{pixels.data(), width, height};
    const std::vector<float> plain = run(kernels(), image, 3, 16, 16);
    std::vector<std::uint16_t> half(3 * 16 * 16);
    resize(image, {half.data(), {1, 3, 16, 16}, 256, Type::f16}, 0, format);
    bool same = true;
    for (std::size_t i = 0; i < half.size(); ++i) same &= half[i] == float_to_half(plain[i] * 4 + -2.0f);
    CHECK(same);
  }
}

/// As torchvision's Resize and CenterCrop.
void test_geometry() {
  ClassifierGeometry g = ClassifierGeometry::fit(1280, 720, 224, 224, false);
  CHECK(g.across.target == 398 && g.across.first == 87 && g.down.target == 224 && g.down.first == 0);
  g = ClassifierGeometry::fit(333, 500, 224, 224, false);
  CHECK(g.across.target == 224 && g.down.target == 336 && g.down.first == 56);
  g = ClassifierGeometry::fit(225, 224, 224, 224, false);  // half a pixel is rounded to even
  CHECK(g.across.target == 225 && g.across.first == 0);
  g = ClassifierGeometry::fit(1280, 720, 320, 224, false);
  CHECK(g.across.target == 320 && g.across.first == 0 && g.down.target == 224);
  CHECK(ClassifierGeometry::fit(1280, 720, 224, 224, true).across.target == 224);
}

void test_windows() {
  const Windows windows = antialiasing_windows({65535, 224, 0, 224});
  for (std::size_t i = 0; i < windows.first.size(); ++i) {
    int sum = 0;
    for (std::size_t k = 0; k < windows.taps; ++k) {
      const SplitWeight weight = windows.weights[i * windows.taps + k];
      sum += weight.high * 2048 + weight.low;
    }
    CHECK(std::abs(sum - (1 << 22)) < 400);  // each of some 590 weights is rounded
    CHECK(windows.first[i] >= 0 && windows.first[i] + windows.counts[i] <= 65535);
  }
  CHECK(windows.taps % 4 == 0);
}

}  // namespace

int main() {
  test_every_table_and_size();
  test_formats_and_channels();
  test_mean_half_and_one_resize_for_changing_images();
  test_geometry();
  test_windows();
  return check::result();
}
