#include "ops/letterbox.h"

#include <cmath>
#include <cstring>
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

Tensor tensor(std::vector<float>& data, int height, int width) {
  return {data.data(), {1, 3, height, width}, static_cast<std::ptrdiff_t>(height) * width, Type::f32};
}

std::vector<float> run(const Kernels& table, const Image& image, int height, int width, double scale = 1,
                       bool mirrored = false) {
  std::vector<float> out(static_cast<std::size_t>(3) * height * width, -1.0f);
  Letterbox letterbox(table);
  letterbox(image, Geometry::fit(image.width, image.height, width, height, scale, mirrored), tensor(out, height, width),
            0, false);
  return out;
}

/// Bilinear in doubles, straight from the definition.
double expected(const Image& image, int channel, int step, const Geometry& g, int x, int y) {
  if (x < g.left || x >= g.left + g.new_width || y < g.top || y >= g.top + g.new_height) return 114;
  const auto at = [&](double position, int limit, int& low, int& high) {
    position = std::fmin(std::fmax(position, 0), limit - 1);
    low = static_cast<int>(position);
    high = std::min(low + 1, limit - 1);
    return position - low;
  };
  int x0, x1, y0, y1;
  const double fx = at((x - g.left + 0.5) * image.width / g.new_width - 0.5, image.width, x0, x1);
  const double fy = at((y - g.top + 0.5) * image.height / g.new_height - 0.5, image.height, y0, y1);
  const auto pixel = [&](int px, int py) { return double(image.pixels[py * image.stride + px * step + channel]); };
  return (pixel(x0, y0) * (1 - fx) + pixel(x1, y0) * fx) * (1 - fy) +
         (pixel(x0, y1) * (1 - fx) + pixel(x1, y1) * fx) * fy;
}

void test_every_table_and_format() {
  struct Case {
    int width, height;
  };
  struct Channels {
    PixelFormat format;
    int step, rgb[3];
  };
  const Channels formats[] = {{PixelFormat::bgr, 3, {2, 1, 0}},
                              {PixelFormat::rgb, 3, {0, 1, 2}},
                              {PixelFormat::bgra, 4, {2, 1, 0}},
                              {PixelFormat::rgba, 4, {0, 1, 2}},
                              {PixelFormat::gray, 1, {0, 0, 0}}};
  for (const auto& [width, height] : {Case{97, 61}, {1, 1}, {1, 500}, {500, 1}, {64, 96}, {33, 200}, {320, 31}}) {
    for (const Channels& format : formats) {
      const std::ptrdiff_t stride = width * format.step + 5;
      const std::vector<std::uint8_t> pixels = noise(static_cast<std::size_t>(stride * height));
      const Image image{pixels.data(), width, height, stride, format.format};
      const int H = 64, W = 96;
      const Geometry g = Geometry::fit(width, height, W, H);
      const std::vector<float> reference = run(scalar_kernels, image, H, W);
      double worst = 0;
      for (int c = 0; c < 3; ++c) {
        for (int y = 0; y < H; ++y) {
          for (int x = 0; x < W; ++x) {
            const double got = reference[static_cast<std::size_t>((c * H + y) * W + x)] * 255.0;
            worst = std::fmax(worst, std::fabs(got - expected(image, format.rgb[c], format.step, g, x, y)));
          }
        }
      }
      CHECK(worst < 1.02);  // the fixed-point arithmetic truncates up to half a level before rounding, as in OpenCV
      for (const Kernels* table : available_kernels()) CHECK(run(*table, image, H, W) == reference);
    }
  }
}

void test_negative_stride_flips() {
  const std::vector<std::uint8_t> pixels = noise(3 * 20 * 30);
  std::vector<std::uint8_t> flipped(pixels.size());
  for (int y = 0; y < 30; ++y) std::memcpy(&flipped[y * 60], &pixels[(29 - y) * 60], 60);
  const Image up{pixels.data() + 29 * 60, 20, 30, -60, PixelFormat::bgr};
  CHECK(run(kernels(), up, 32, 32) == run(kernels(), {flipped.data(), 20, 30, 60, PixelFormat::bgr}, 32, 32));
}

/// A mirrored view is bit-identical to the view of the mirrored image.
void test_mirrored() {
  for (const PixelFormat format : {PixelFormat::bgr, PixelFormat::rgba, PixelFormat::gray}) {
    const int step = format == PixelFormat::bgr ? 3 : format == PixelFormat::gray ? 1 : 4;
    for (const auto& [width, height] :
         {std::pair{97, 61}, {1, 1}, {2, 9}, {500, 1}, {64, 96}, {320, 31}, {1300, 700}}) {
      const std::vector<std::uint8_t> pixels = noise(static_cast<std::size_t>(width * height * step));
      std::vector<std::uint8_t> turned(pixels.size());
      for (int at = 0; at < width * height; ++at) {
        const int x = at % width, to = at - x + width - 1 - x;
        std::memcpy(&turned[static_cast<std::size_t>(to * step)], &pixels[static_cast<std::size_t>(at * step)],
                    static_cast<std::size_t>(step));
      }
      const Image image{pixels.data(), width, height, 0, format}, mirror{turned.data(), width, height, 0, format};
      for (const double scale : {1.0, 0.83, 0.05}) {
        const std::vector<float> expected = run(scalar_kernels, mirror, 64, 96, scale);
        for (const Kernels* table : available_kernels()) CHECK(run(*table, image, 64, 96, scale, true) == expected);
      }
    }
  }
}

void test_one_letterbox_for_changing_views() {
  const std::vector<std::uint8_t> pixels = noise(3 * 40 * 20);
  const Image image{pixels.data(), 40, 20};
  Letterbox letterbox;
  for (const bool mirrored : {false, true, false}) {
    std::vector<float> out(3 * 32 * 32);
    letterbox(image, Geometry::fit(40, 20, 32, 32, 1, mirrored), tensor(out, 32, 32), 0, false);
    CHECK(out == run(kernels(), image, 32, 32, 1, mirrored));
  }
}

void test_half_output() {
  const std::vector<std::uint8_t> pixels = noise(3 * 50 * 40);
  const Image image{pixels.data(), 50, 40};
  const std::vector<float> reference = run(scalar_kernels, image, 64, 64);
  for (const Kernels* table : available_kernels()) {
    std::vector<std::uint16_t> half(3 * 64 * 64);
    const Tensor input{half.data(), {1, 3, 64, 64}, 64 * 64, Type::f16};
    Letterbox letterbox(*table);
    letterbox(image, Geometry::fit(50, 40, 64, 64), input, 0, false);
    bool same = true;
    for (std::size_t i = 0; i < half.size(); ++i) same &= half[i] == float_to_half(reference[i]);
    CHECK(same);
  }
}

/// Numbers of Ultralytics' LetterBox for the same shapes.
void test_geometry() {
  Geometry g = Geometry::fit(1280, 720, 640, 640);
  CHECK(g.new_width == 640 && g.new_height == 360 && g.left == 0 && g.top == 140);
  g = Geometry::fit(500, 333, 640, 640);  // 333 * 1.28 = 426.24
  CHECK(g.new_height == 426 && g.top == 107);
  g = Geometry::fit(10, 9999, 640, 640);
  CHECK(g.new_width == 1 && g.new_height == 640 && g.left == 319);
  g = Geometry::fit(333, 500, 640, 384);  // rectangular input, height 384
  CHECK(g.new_height == 384 && g.new_width == 256 && g.left == 192);

  g = Geometry::fit(1280, 720, 640, 640);
  const Box box = g.to_image(Box{-5, 140, 320, 1000});
  CHECK(box.x1 == 0 && box.y1 == 0 && box.x2 == 640 && box.y2 == 720);

  g = Geometry::fit(1280, 720, 640, 640).trimmed(32);
  CHECK(g.width == 640 && g.height == 384 && g.new_width == 640 && g.new_height == 360 && g.left == 0 && g.top == 12);
  g = Geometry::fit(333, 500, 640, 640).trimmed(32);
  CHECK(g.width == 448 && g.height == 640 && g.new_width == 426 && g.left == 11 && g.top == 0);
  g = Geometry::fit(10, 9999, 640, 640).trimmed(32);
  CHECK(g.width == 32 && g.height == 640 && g.new_width == 1 && g.left == 15);

  g = Geometry::fit(1280, 720, 640, 640, 0.5);
  CHECK(g.new_width == 320 && g.new_height == 180 && g.left == 160 && g.top == 230);
  CHECK(Geometry::fit(7, 5000, 640, 640, 0.01).new_width == 1);
  g = Geometry::fit(1280, 720, 640, 640, 1, true);
  CHECK(!(g == Geometry::fit(1280, 720, 640, 640)));
  const Box turned = g.to_image(Box{-5, 140, 320, 1000});
  CHECK(turned.x1 == 640 && turned.y1 == 0 && turned.x2 == 1280 && turned.y2 == 720);
}

void test_keep_padding() {
  const std::vector<std::uint8_t> pixels = noise(3 * 40 * 20);
  const Image image{pixels.data(), 40, 20};
  const Geometry g = Geometry::fit(40, 20, 32, 32);
  std::vector<float> out(3 * 32 * 32, -1.0f);
  Letterbox letterbox;
  letterbox(image, g, tensor(out, 32, 32), 0, true);
  CHECK(out[0] == -1.0f);
  letterbox(image, g, tensor(out, 32, 32), 0, false);
  CHECK(out == run(kernels(), image, 32, 32));
}

std::vector<float> run_channels(const Kernels& table, const Image& image, int channels, const InputFormat& format) {
  const int height = 48, width = 64;
  std::vector<float> out(static_cast<std::size_t>(channels * height * width), -1.0f);
  const Tensor input{out.data(), {1, channels, height, width}, height * width, Type::f32};
  Letterbox letterbox(table);
  letterbox(image, Geometry::fit(image.width, image.height, width, height), input, 0, false, format);
  return out;
}

/// Each channel of a multi-channel image gives the same as a gray image of that channel.
void test_any_number_of_channels() {
  const int width = 97, height = 61;
  for (const int channels : {1, 2, 3, 4, 5, 6, 8, 9, 13}) {
    const std::vector<std::uint8_t> pixels = noise(static_cast<std::size_t>(width * height * channels));
    Image image{pixels.data(), width, height, 0, PixelFormat::channels};
    image.channels = channels;
    std::vector<float> expected;
    for (int c = 0; c < channels; ++c) {
      std::vector<std::uint8_t> plane;
      for (int i = 0; i < width * height; ++i) plane.push_back(pixels[static_cast<std::size_t>(i * channels + c)]);
      const Image gray{plane.data(), width, height, 0, PixelFormat::gray};
      const std::vector<float> out = run_channels(scalar_kernels, gray, 1, {});
      expected.insert(expected.end(), out.begin(), out.end());
    }
    for (const Kernels* table : available_kernels()) CHECK(run_channels(*table, image, channels, {}) == expected);
  }
}

void test_order_mean_and_deviation() {
  const std::vector<std::uint8_t> pixels = noise(3 * 30 * 20);
  const Image image{pixels.data(), 30, 20};
  const std::vector<float> rgb = run_channels(kernels(), image, 3, {});
  InputFormat format;
  format.bgr = true;
  format.mean = {0.5f, 0.25f, 0};
  format.stddev = {0.5f};
  const std::vector<float> out = run_channels(kernels(), image, 3, format);
  const std::size_t plane = rgb.size() / 3;
  bool same = true;
  for (std::size_t i = 0; i < rgb.size(); ++i) {
    const std::size_t c = i / plane;
    same &= std::fabs(out[i] - (rgb[(2 - c) * plane + i % plane] - format.mean[c]) * 2) < 1e-6f;
  }
  CHECK(same);
}

void test_gray_of_colors() {
  const std::uint8_t bgr[] = {255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255};
  std::vector<std::uint8_t> gray;
  to_gray({bgr, 4, 1}, gray);
  CHECK(gray == (std::vector<std::uint8_t>{29, 150, 76, 255}));  // as cv2.cvtColor gives
  to_gray({bgr, 4, 1, 0, PixelFormat::rgb}, gray);
  CHECK(gray == (std::vector<std::uint8_t>{76, 150, 29, 255}));
}

void test_stretching() {
  const Geometry g = Geometry::stretch(1280, 720, 640, 320);
  CHECK(g.new_width == 640 && g.new_height == 320 && g.left == 0 && g.top == 0);
  const Box box = g.to_image(Box{64, 32, 128, 400});
  CHECK(box.x1 == 128 && box.y1 == 72 && box.x2 == 256 && box.y2 == 720);
  const Geometry half = Geometry::stretch(1280, 720, 640, 320, 0.5, true);
  CHECK(half.new_width == 320 && half.new_height == 160 && half.left == 160 && half.top == 80 && half.mirrored);
}

void test_channels_that_do_not_fit() {
  const std::uint8_t pixels[64] = {};
  Image six{pixels, 2, 2, 0, PixelFormat::channels};
  six.channels = 6;
  check_channels(six, 6);
  check_channels({pixels, 2, 2, 0, PixelFormat::bgra}, 4);
  check_channels({pixels, 2, 2}, 1);
  CHECK_THROWS(check_channels(six, 3), std::invalid_argument, "it has 6 channel(s), but the model takes 3");
  CHECK_THROWS(check_channels({pixels, 2, 2}, 6), std::invalid_argument, "it has 3 channel(s), but the model takes 6");
  six.channels = 0;
  CHECK_THROWS(check_image(six), std::invalid_argument, "0 channels");
  six.channels = 6;
  six.stride = 11;
  CHECK_THROWS(check_image(six), std::invalid_argument, "stride");
}

void test_bad_images() {
  const std::uint8_t pixel[3] = {};
  CHECK_THROWS(check_image({pixel, 0, 1}), std::invalid_argument, "0 x 1");
  CHECK_THROWS(check_image({pixel, 1, 65536}), std::invalid_argument, "65535");
  CHECK_THROWS(check_image({nullptr, 1, 1}), std::invalid_argument, "null");
  CHECK_THROWS(check_image({pixel, 10, 10, 29}), std::invalid_argument, "stride");
}

}  // namespace

int main() {
  test_every_table_and_format();
  test_negative_stride_flips();
  test_mirrored();
  test_one_letterbox_for_changing_views();
  test_half_output();
  test_geometry();
  test_keep_padding();
  test_any_number_of_channels();
  test_order_mean_and_deviation();
  test_gray_of_colors();
  test_stretching();
  test_channels_that_do_not_fit();
  test_bad_images();
  return check::result();
}
