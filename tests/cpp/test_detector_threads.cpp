// Many threads on one ncnn Detector get the same results as one thread. Made for ThreadSanitizer; $YOLORT_RUNS is the
// number of detections per thread.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "yolort/yolort.h"

using namespace yolort;

namespace {

constexpr int side = 320, images = 4;

/// Stripes and squares, different in every image.
std::vector<std::uint8_t> picture(int which) {
  std::vector<std::uint8_t> out(side * side * 3);
  for (int y = 0; y < side; ++y) {
    for (int x = 0; x < side * 3; ++x) {
      out[static_cast<std::size_t>(y * side * 3 + x)] =
          static_cast<std::uint8_t>(((x / (30 + which)) ^ (y / (20 + which))) * 83 + which);
    }
  }
  return out;
}

bool same(const Detections& a, const Detections& b) {
  if (a.scores != b.scores || a.classes != b.classes) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const Box &p = a.boxes[i], &q = b.boxes[i];
    if (p.x1 != q.x1 || p.y1 != q.y1 || p.x2 != q.x2 || p.y2 != q.y2) return false;
  }
  return true;
}

void test_threads_find_what_one_finds(int runs) {
  Options options;
  options.engine = "ncnn";
  options.device = "cpu";
  options.conf = 0.02f;
  options.threads = 2;
  Detector detector(YOLORT_ASSETS "/scenes_ncnn_model", options);
  std::vector<std::vector<std::uint8_t>> pixels;
  std::vector<Detections> expected;
  for (int i = 0; i < images; ++i) {
    pixels.push_back(picture(i));
    expected.push_back(detector.detect({pixels.back().data(), side, side}));
  }
  CHECK(!expected.front().empty());

  std::vector<int> wrong(8, 0);
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      Detector mine = detector.clone();
      for (int i = 0; i < runs; ++i) {
        const auto which = static_cast<std::size_t>((i + t) % images);
        Detector& chosen = i % 4 ? detector : mine;  // most of them meet in one
        wrong[static_cast<std::size_t>(t)] += !same(chosen.detect({pixels[which].data(), side, side}), expected[which]);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == std::vector<int>(8, 0));
}

}  // namespace

int main() {
  const char* runs = std::getenv("YOLORT_RUNS");
  test_threads_find_what_one_finds(runs ? std::atoi(runs) : 10);
  return check::result();
}
