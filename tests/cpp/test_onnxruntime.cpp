// The C++ side of the ONNX Runtime engine. The contract of all engines is tested from Python
// (tests/python/test_engines.py). Skipped if the library is missing.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "check.h"
#include "engines/onnxruntime/providers.h"
#include "engines/onnxruntime/runtime.h"
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
  CHECK_THROWS(with([](Options& o) { o.device = "vulkan"; }), std::invalid_argument, "not supported by onnxruntime");
  CHECK_THROWS(with([](Options& o) { o.precision = "fp16"; }), std::invalid_argument,
               "export the model in that precision");
  CHECK_THROWS(with([](Options& o) { o.device = "cuda"; }), EngineError, "pip install onnxruntime-gpu");
  CHECK_THROWS(with([](Options& o) { o.engine_options = {{"device_id", "0"}}; }), std::invalid_argument,
               "CPU provider has no options");
  const FakeModel empty("onnxruntime");
  Options named = options();
  named.names = {"zero"};
  named.imgsz = {32, 32};
  CHECK_THROWS(Detector(empty.path, named), ModelError, "onnxruntime cannot load it");
}

/// A function at a wrong position of the table would return something else, or crash.
void test_functions_stand_where_they_are_declared() {
  const ort::Api& api = ort::api();
  const auto message = [&](ort::Status* status) -> std::string {
    if (!status) return "";
    const std::string out = api.error_message(status);
    api.release_status(status);
    return out;
  };
  ort::Owned<ort::SessionOptions> session;
  CHECK(message(api.create_session_options(ort::Into(session))).empty());
  const auto speaks_of = [](const std::string& text, const char* provider) {
    return text.find(provider) != std::string::npos;
  };
  const std::vector<std::string> here = ort::provider_devices(api);
  const auto absent = [&](const char* kind) { return std::find(here.begin(), here.end(), kind) == here.end(); };
  if (absent("cuda")) {  // append_cuda() reads the options, of which there are none
    ort::CudaOptions* cuda = nullptr;
    CHECK(speaks_of(message(api.create_cuda_options(&cuda)), "CUDA"));
    CHECK(speaks_of(message(api.update_cuda_options(cuda, nullptr, nullptr, 0)), "CUDA"));
  }
  if (absent("tensorrt")) {
    ort::TensorrtOptions* tensorrt = nullptr;
    CHECK(speaks_of(message(api.create_tensorrt_options(&tensorrt)), "TensorRT"));
    CHECK(speaks_of(message(api.append_tensorrt(session.get(), tensorrt)), "TensorRT"));
    CHECK(speaks_of(message(api.update_tensorrt_options(tensorrt, nullptr, nullptr, 0)), "TensorRT"));
  }
  if (absent("openvino"))
    CHECK(speaks_of(message(api.append_openvino(session.get(), nullptr, nullptr, 0)), "OpenVINO"));
  if (absent("xnnpack")) {
    CHECK(speaks_of(message(api.append_provider(session.get(), "XNNPACK", nullptr, nullptr, 0)), "XNNPACK"));
  }
}

void test_layer_times() {
  Options profiled = options();
  profiled.profile = true;
  const std::filesystem::path prefix =
      std::filesystem::temp_directory_path() / ("yolort_trace" + std::to_string(getpid()));
  for (const bool kept : {false, true}) {
    if (kept) profiled.engine_options["profile_file_prefix"] = prefix.string();
    Detector detector(model, profiled);
    Detector clone = detector.clone();
    const std::vector<std::uint8_t> pixels(static_cast<std::size_t>(64 * 64 * 3), 114);
    for (int i = 0; i < 3; ++i) detector.detect({pixels.data(), 64, 64});
    CHECK(clone.layer_times().empty());
    const std::vector<LayerTime> times = detector.layer_times();
    CHECK(times.size() > 50);
    CHECK(std::any_of(times.begin(), times.end(), [](const LayerTime& time) { return time.type == "Conv"; }));
    CHECK(detector.layer_times().empty());
    detector.detect({pixels.data(), 64, 64});  // still works
  }
  int traces = 0;
  for (const auto& entry : std::filesystem::directory_iterator(prefix.parent_path())) {
    if (entry.path().filename().string().rfind(prefix.filename().string(), 0) != 0) continue;
    ++traces;
    std::filesystem::remove(entry.path());
  }
  CHECK(traces == 1);
}

void test_options_of_the_session() {
  Options changed = options();
  changed.engine_options = {{"session.intra_op.allow_spinning", "0"}};
  CHECK(Detector(model, changed).device() == "cpu");
  changed.engine_options = {{"session." + std::string(5000, 'x'), "0"}};
  CHECK_THROWS(Detector(model, changed), std::invalid_argument, "engine_options: \"session.xxx");
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
  test_functions_stand_where_they_are_declared();
  test_clones_outlive_their_detector();
  test_layer_times();
  test_options_of_the_session();
  test_refuses();
  return check::result();
}
