#include "ops/masks.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <random>
#include <thread>

#include "check.h"

using namespace yolort;

namespace {

struct Plane {
  int height, width;
  std::vector<double> values;
  double at(int y, int x) const { return values[static_cast<std::size_t>(y * width + x)]; }
};

/// PyTorch's bilinear interpolate(align_corners=False).
Plane resize(const Plane& from, int height, int width) {
  Plane out{height, width, {}};
  const auto position = [](int i, int to, int size, int& first, double& part) {
    const double at = std::max((i + 0.5) * size / to - 0.5, 0.0);
    first = std::min(static_cast<int>(at), size - 1);
    part = at - first;
  };
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      int top, left;
      double down, right;
      position(y, height, from.height, top, down);
      position(x, width, from.width, left, right);
      const int below = std::min(top + 1, from.height - 1), next = std::min(left + 1, from.width - 1);
      out.values.push_back((1 - down) * ((1 - right) * from.at(top, left) + right * from.at(top, next)) +
                           down * ((1 - right) * from.at(below, left) + right * from.at(below, next)));
    }
  }
  return out;
}

/// The steps of process_mask_native on logits, up to thresholding at 0 and cropping to the box.
Plane reference(Plane logits, const Geometry& g) {
  const int sides = g.left | g.top | g.new_width | g.new_height, factor = sides % 2 ? 4 : sides % 4 ? 2 : 1;
  logits = resize(logits, logits.height * factor, logits.width * factor);
  Plane fitted{g.new_height * factor / 4, g.new_width * factor / 4, {}};
  for (int y = 0; y < fitted.height; ++y) {
    for (int x = 0; x < fitted.width; ++x) {
      fitted.values.push_back(logits.at(g.top * factor / 4 + y, g.left * factor / 4 + x));
    }
  }
  return resize(fitted, g.source_height, g.source_width);
}

struct Case {
  Geometry geometry;
  std::vector<float> prototypes, coefficients;
  Tensor tensor;

  explicit Case(const Geometry& g, int channels = 5, int padding = 3) : geometry(g) {
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    const int height = g.height / 4, width = g.width / 4, stride = height * width + padding;
    prototypes.resize(static_cast<std::size_t>(channels * stride));
    for (float& value : prototypes) value = normal(random);
    for (int i = 0; i < 2 * channels; ++i) coefficients.push_back(normal(random));
    tensor = {prototypes.data(), {1, channels, height, width}, stride, Type::f32};
  }
  Plane logits(int detection) const {
    Plane out{tensor.shape[2], tensor.shape[3], {}};
    const auto channels = static_cast<std::size_t>(tensor.shape[1]);
    for (int i = 0; i < out.height * out.width; ++i) {
      double sum = 0;
      for (std::size_t c = 0; c < channels; ++c) {
        sum += static_cast<double>(coefficients[static_cast<std::size_t>(detection) * channels + c]) *
               prototypes[c * static_cast<std::size_t>(tensor.channel_stride) + static_cast<std::size_t>(i)];
      }
      out.values.push_back(sum);
    }
    return out;
  }
};

Detections two_boxes(const Geometry& g) {
  const auto w = static_cast<float>(g.source_width), h = static_cast<float>(g.source_height);
  Detections out;
  out.boxes = {{0, 0, w, h}, {0.21f * w, 0.13f * h, 0.83f * w, 0.78f * h}};
  out.scores = {0.9f, 0.8f};
  out.classes = {0, 1};
  return out;
}

void test_masks_are_those_of_the_steps() {
  const std::vector<Geometry> geometries = {
      Geometry::fit(100, 60, 96, 96),           // padding of whole prototypes: no enlargement
      Geometry::fit(200, 130, 96, 64),          // twice
      Geometry::fit(301, 200, 96, 96),          // four times
      Geometry::fit(20, 33, 64, 64),            // enlarged by the letterbox
      Geometry::fit(64, 64, 64, 64, 0.5),       // a view in the middle of its input
      Geometry::fit(301, 200, 96, 96, 1, true)  // mirrored
  };
  for (const Geometry& g : geometries) {
    const Case each(g);
    for (const Kernels* table : available_kernels()) {
      Detections found = two_boxes(g);
      MaskDecoder decoder(*table);
      decoder(each.tensor, 0, g, each.coefficients, found);
      CHECK(found.size() == 2 && found.masks.size() == 2);
      if (found.masks.size() != 2) continue;
      int wrong = 0;
      for (int i = 0; i < 2; ++i) {
        const Plane expected = reference(each.logits(i), g);
        const Box& box = found.boxes[static_cast<std::size_t>(i)];
        std::size_t area = 0;
        for (int y = 0; y < g.source_height; ++y) {
          for (int x = 0; x < g.source_width; ++x) {
            const auto column = static_cast<float>(x), row = static_cast<float>(y);
            const bool inside = column >= box.x1 && column < box.x2 && row >= box.y1 && row < box.y2;
            const double value = expected.at(y, g.mirrored ? g.source_width - 1 - x : x);
            const bool got = found.masks[static_cast<std::size_t>(i)].at(x, y);
            area += got;
            if (!inside ? got : std::abs(value) > 1e-4 && got != (value > 0)) ++wrong;
          }
        }
        CHECK(area == found.masks[static_cast<std::size_t>(i)].area());
      }
      CHECK(wrong == 0);
    }
  }
}

void test_uniform_blocks_are_what_their_pixels_are() {
  // Large areas of one sign, at a scale at which blocks cover few prototypes.
  const Geometry g = Geometry::fit(700, 500, 64, 64);
  Case each(g, 1, 0);
  each.coefficients = {1, 1};
  for (int i = 0; i < 256; ++i) each.prototypes[static_cast<std::size_t>(i)] = i % 16 < 6 || i / 16 > 9 ? 2.0f : -1.0f;
  Detections found = two_boxes(g);
  MaskDecoder()(each.tensor, 0, g, each.coefficients, found);
  const Plane expected = reference(each.logits(0), g);
  int wrong = 0;
  for (int y = 0; y < 500; ++y) {
    for (int x = 0; x < 700; ++x) {
      if (std::abs(expected.at(y, x)) > 1e-4 && found.masks[0].at(x, y) != (expected.at(y, x) > 0)) ++wrong;
    }
  }
  CHECK(wrong == 0);
}

void test_empty_masks_are_dropped() {
  const Geometry g = Geometry::fit(64, 64, 64, 64);
  Case each(g, 1, 0);
  std::fill(each.prototypes.begin(), each.prototypes.end(), 1.0f);
  each.coefficients = {-1, 1};
  Detections found = two_boxes(g);
  MaskDecoder()(each.tensor, 0, g, each.coefficients, found);
  CHECK(found.size() == 1 && found.classes[0] == 1 && found.scores[0] == 0.8f && found.masks.size() == 1);
  found = two_boxes(g);
  found.boxes[1] = {10.2f, 3, 10.9f, 9};  // no pixel's corner lies in it
  MaskDecoder()(each.tensor, 0, g, each.coefficients, found);
  CHECK(found.empty() && found.masks.empty());
}

void test_what_is_refused() {
  const Geometry g = Geometry::fit(64, 64, 64, 64);
  Case each(g, 1, 0);
  each.prototypes[17] = 0.0f / 0.0f;
  Detections found = two_boxes(g);
  CHECK_THROWS(MaskDecoder()(each.tensor, 0, g, each.coefficients, found), EngineError, "NaN");

  const Geometry large = Geometry::fit(60000, 50000, 64, 64);  // 358 MiB per mask
  found = {};
  for (int i = 0; i < 3; ++i) {
    found.boxes.push_back({0, 0, 60000, 50000});
    found.scores.push_back(0.5f);
    found.classes.push_back(0);
  }
  CHECK_THROWS(MaskDecoder()(each.tensor, 0, large, {1, 1, 1}, found), std::invalid_argument, "1072 MiB");
}

/// All tables give the same result as the scalar one.
void check_tables(const Samples& samples, const std::vector<float>& values) {
  for (const std::size_t n : {1u, 7u, 8u, 16u, 31u, 33u, 64u, 97u}) {
    std::vector<float> expected(n), sums(n);
    scalar_kernels.weighted_sum(values.data(), 200, values.data() + 5, 50, n, expected.data());
    std::vector<std::uint8_t> expected_bits((n + 7) / 8), bits((n + 7) / 8 + 1, 0xAA);
    scalar_kernels.sample_bits(values.data(), samples, 3, n, expected_bits.data());
    for (const Kernels* table : available_kernels()) {
      table->weighted_sum(values.data(), 200, values.data() + 5, 50, n, sums.data());
      CHECK(sums == expected);
      table->sample_bits(values.data(), samples, 3, n, bits.data());
      CHECK(std::equal(expected_bits.begin(), expected_bits.end(), bits.begin()) && bits.back() == 0xAA);
    }
  }
}

void test_kernels_of_every_table() {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<float> values(50 * 200);
  for (float& value : values) value = normal(random);
  for (const double step : {0.03, 0.3, 0.45, 0.9, 1.8, -0.3, -0.6, -1.8}) {
    Samples samples;
    for (int i = 0; i < 100; ++i) {
      samples.first.push_back(static_cast<int>(step < 0 ? (i - 99) * step : i * step));
      for (auto& weights : samples.weights) weights.push_back(normal(random));
    }
    check_tables(samples, values);
  }
}

/// Detections all over the image, in boxes of many sizes.
struct Crowd {
  Geometry geometry = Geometry::fit(700, 500, 96, 64);
  Case each{geometry};
  Detections found;
  std::vector<float> coefficients;

  Crowd() {
    std::mt19937 random(5);
    std::normal_distribution<float> normal;
    std::uniform_real_distribution<float> share(0, 1);
    for (int i = 0; i < 40; ++i) {
      const float x = 600 * share(random), y = 400 * share(random);
      found.boxes.push_back({x, y, x + 20 + 80 * share(random), y + 20 + 80 * share(random)});
      found.scores.push_back(share(random));
      found.classes.push_back(i);
      for (int c = 0; c < 5; ++c) coefficients.push_back(normal(random));
    }
    found.boxes[0] = {0, 0, 700, 500};
  }
  Detections decode(MaskDecoder& decoder) const {
    Detections out = found;
    decoder(each.tensor, 0, geometry, coefficients, out);
    return out;
  }
};

bool same(const Detections& a, const Detections& b) {
  if (a.scores != b.scores || a.classes != b.classes || a.masks.size() != b.masks.size()) return false;
  for (std::size_t i = 0; i < a.masks.size(); ++i) {
    const Mask &p = a.masks[i], &q = b.masks[i];
    if (p.x != q.x || p.y != q.y || p.width != q.width || p.height != q.height) return false;
    const std::size_t bytes = p.row_bytes() * static_cast<std::size_t>(p.height);
    if (!std::equal(p.bits.get(), p.bits.get() + bytes, q.bits.get())) return false;
  }
  return true;
}

/// Made for ThreadSanitizer, too; $YOLORT_RUNS says how often each thread decodes.
void test_threads_make_the_masks_that_one_makes(int runs) {
  const Crowd crowd;
  MaskDecoder alone(kernels(), 1);
  const Detections expected = crowd.decode(alone);
  CHECK(expected.size() > 30);
  std::vector<int> wrong(8, 0);
  std::vector<std::thread> callers;
  for (std::size_t t = 0; t < wrong.size(); ++t) {
    callers.emplace_back([&, t] {
      MaskDecoder shared(kernels(), static_cast<int>(t) + 1);
      for (int i = 0; i < runs; ++i) wrong[t] += !same(crowd.decode(shared), expected);
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK(wrong == std::vector<int>(8, 0));
}

void test_a_thread_that_finds_nan_says_so() {
  Crowd crowd;
  crowd.each.prototypes[3] = 0.0f / 0.0f;
  MaskDecoder shared(kernels(), 4);
  CHECK_THROWS(crowd.decode(shared), EngineError, "NaN");
}

}  // namespace

int main() {
  const char* runs = std::getenv("YOLORT_RUNS");
  test_masks_are_those_of_the_steps();
  test_uniform_blocks_are_what_their_pixels_are();
  test_empty_masks_are_dropped();
  test_what_is_refused();
  test_kernels_of_every_table();
  test_threads_make_the_masks_that_one_makes(runs ? std::atoi(runs) : 50);
  test_a_thread_that_finds_nan_says_so();
  return check::result();
}
