// The engine over ONNX Runtime's C API; that it keeps the contract of all engines is tested from Python
// (tests/python/test_native_engines.py), and here what only C++ sees. Skips where the library is not here.
#include <cstdio>
#include <fstream>
#include <string>
#include <thread>

#include "check.h"
#include "fake_engine.h"

using namespace yolort;

namespace {

const std::string model = std::string(YOLORT_ASSETS) + "/scenes.onnx";

Options options() {
  Options out;
  out.engine = "onnxruntime";
  return out;
}

void test_clones_outlive_their_detector() {
  const std::vector<std::uint8_t> pixels(static_cast<std::size_t>(640 * 480 * 3), 114);
  const Image image{pixels.data(), 640, 480};
  Thresholds all;
  all.conf = 1e-4f;
  std::vector<Detector> clones;
  std::vector<Detections> expected;
  {
    Detector detector(model, options());
    CHECK(detector.engine() == "onnxruntime" && detector.device() == "cpu" && detector.precision() == "fp32");
    expected = detector.detect({image, image, image}, all);
    for (int i = 0; i < 3; ++i) clones.push_back(detector.clone());
  }
  CHECK(expected.size() == 3 && !expected[0].empty() && expected[0].scores == expected[2].scores);
  std::vector<std::thread> threads;
  for (Detector& clone : clones) {
    threads.emplace_back([&] {
      for (int i = 0; i < 3; ++i) CHECK(clone.detect(image, all).scores == expected[0].scores);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

void test_refuses() {
  const auto with = [](auto change) {
    Options changed = options();
    change(changed);
    return Detector(model, changed);
  };
  CHECK_THROWS(with([](Options& o) { o.device = "cuda:x"; }), std::invalid_argument, "none of onnxruntime's");
  CHECK_THROWS(with([](Options& o) { o.precision = "fp16"; }), std::invalid_argument, "export it so");
  CHECK_THROWS(with([](Options& o) { o.profile = true; }), EngineError, "times layers");
  const FakeModel empty("onnxruntime");
  Options named = options();
  named.names = {"zero"};
  named.imgsz = {32, 32};
  CHECK_THROWS(Detector(empty.path, named), ModelError, "onnxruntime cannot load it");
}

}  // namespace

int main() {
  for (const EngineStatus& engine : engines()) {
    if (engine.name == "onnxruntime" && !engine.available) {
      std::printf("skipped: %s\n", engine.reason.c_str());
      return 77;
    }
  }
  CHECK(devices("onnxruntime").front() == "cpu");
  test_clones_outlive_their_detector();
  test_refuses();
  return check::result();
}
