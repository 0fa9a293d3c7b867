// The engine over OpenVINO's C API: what C++ sees of it. That it keeps the contract of all engines is tested from
// Python. What needs the library is skipped if that is not here.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

#include "check.h"
#include "core/engine.h"
#include "engines/openvino/api.h"
#include "engines/openvino/devices.h"
#include "engines/openvino/model_cache.h"
#include "engines/openvino/signed_int8.h"
#include "model/onnx_graph.h"
#include "model/value.h"
#include "platform/processor.h"
#include "platform/warning.h"

using namespace yolort;
namespace fs = std::filesystem;

namespace {

const fs::path folder = fs::temp_directory_path() / ("yolort_test_openvino" + std::to_string(getpid()));
const std::string model = std::string(YOLORT_ASSETS) + "/scenes.onnx";
const std::vector<std::uint8_t> pixels(static_cast<std::size_t>(640 * 480 * 3), 114);
const Image image{pixels.data(), 640, 480};

Thresholds all() {
  Thresholds out;
  out.conf = 1e-4f;
  return out;
}

Options options() {
  Options out;
  out.engine = "openvino";
  return out;
}

// ---- without the library ----

void test_names_of_devices() {
  const auto name = [](const std::string& device, const std::vector<std::string>& here) {
    return openvino::device_name(device, [&] { return here; });
  };
  CHECK(name("", {}) == "CPU" && name("cpu", {}) == "CPU");
  CHECK(name("cuda:0", {"CPU", "GPU"}) == "GPU" && name("cuda:1", {"CPU", "GPU.0", "GPU.1"}) == "GPU.1");
  CHECK(name("npu", {"CPU", "NPU"}) == "NPU" && name("auto", {"CPU"}) == "AUTO");
  CHECK(name("auto:-cpu", {"CPU"}) == "AUTO:-CPU" && name("hetero:gpu,cpu", {"CPU", "GPU"}) == "HETERO:GPU,CPU");
  CHECK_THROWS(name("cuda:2", {"CPU", "GPU.0", "GPU.1"}), EngineError, "OpenVINO has 2 GPU(s) here");
  CHECK_THROWS(name("vulkan:0", {"CPU"}), EngineError, "none of OpenVINO's here: CPU");
  CHECK_THROWS(name("hetero:gpu,cpu", {"CPU"}), EngineError, "none of OpenVINO's here: CPU");
}

void test_precision_that_runs() {
  const auto runs = [](const std::string& asked, const std::string& hint, const std::string& capabilities) {
    return openvino::precision_that_runs(asked, "(GPU.0)", hint, [&](const std::string& device) {
      CHECK(device == "GPU.0");
      return capabilities;
    });
  };
  CHECK(runs("fp32", "f16", "FP32 FP16") == "fp16");  // it takes the hint for another precision
  CHECK(runs("fp16", "", "FP32 INT8 FP16") == "fp16");
  CHECK(runs("bf16", "bf16", "FP32 BF16 BIN") == "bf16");
  CHECK_THROWS(runs("bf16", "", "FP32 FP16"), EngineError, "cannot compute in bf16 on gpu.0; it can in fp32, fp16");
  CHECK(openvino::precision_hint("fp32") == "f32");
  CHECK_THROWS(openvino::precision_hint("fp16-storage"), std::invalid_argument, "none of openvino's: fp32, bf16");
}

void test_settings() {
  Options asked;
  const std::vector<std::string> latency = {"PERFORMANCE_HINT", "LATENCY", "INFERENCE_PRECISION_HINT", "f32"};
  CHECK(openvino::settings_for(asked, "CPU", 4) == latency);
  const auto streams = [&](int threads, const std::string& device) {
    asked.threads = threads;
    const std::vector<std::string> all = openvino::settings_for(asked, device, 4);
    return all.size() < 8 ? "" : all[5] + " x " + all[7];
  };
  CHECK(streams(1, "CPU") == "4 x 4" && streams(2, "CPU") == "2 x 4" && streams(3, "CPU") == "1 x 3");
  CHECK(streams(8, "CPU") == "1 x 8" && streams(1, "GPU").empty());
}

/// A protobuf field that holds bytes, or a number below 128.
std::string bytes(int field, const std::string& content) {
  std::string out(1, static_cast<char>(field << 3 | 2));
  for (std::size_t size = content.size();; size >>= 7) {
    out += static_cast<char>((size & 0x7F) | (size > 0x7F ? 0x80 : 0));
    if (size <= 0x7F) break;
  }
  return out + content;
}
std::string number(int field, int value) { return {static_cast<char>(field << 3), static_cast<char>(value)}; }

/// An ONNX file that rounds `input` with a zero point of a type; 0: without one, to `output_dtype`.
std::string rounding(const std::string& input, int zero_point, int output_dtype = 0) {
  const std::string weights = bytes(5, number(2, 1) + bytes(9, std::string(300, 'w')) + bytes(8, "weights"));
  const std::string zero = number(2, zero_point) + bytes(8, "zero");
  const std::string constant =
      bytes(1, bytes(2, "constant") + bytes(4, "Constant") + bytes(5, bytes(1, "value") + bytes(5, number(2, 1))));
  std::string node = bytes(1, input) + bytes(1, "scale") + (zero_point ? bytes(1, "zero") : "") + bytes(2, "out");
  node += bytes(4, "QuantizeLinear");
  if (output_dtype) node += bytes(5, bytes(1, "output_dtype") + number(3, output_dtype));
  return number(1, 8) + bytes(7, constant + bytes(1, node) + weights + (zero_point ? bytes(5, zero) : ""));
}

void test_signed_rounding_in_onnx() {
  const auto is_signed = [](const std::string& onnx) {
    std::istringstream in(onnx);
    return rounds_activations_to_int8(in, onnx.size());
  };
  CHECK(is_signed(rounding("image", 3)) && !is_signed(rounding("image", 2)));
  CHECK(!is_signed(rounding("weights", 3)) && !is_signed(rounding("constant", 3)));
  CHECK(is_signed(rounding("image", 0, 3)) && !is_signed(rounding("image", 0)));
  const std::string whole = rounding("image", 3);
  for (std::size_t size = 1; size < whole.size(); ++size) {  // no byte is read that is not there
    std::istringstream in(whole.substr(0, size));
    try {
      rounds_activations_to_int8(in, size);
    } catch (const ParseError&) {
    }
  }
}

void test_signed_rounding_in_an_ir() {
  const auto is_signed = [](const std::string& type, const std::string& rounded) {
    const fs::path file = folder / "model.xml";
    std::ofstream(file) << "<net><layers><layer id=\"0\" name=\"a &gt; b\" type=\"" << rounded << "\"/>"
                        << R"(<layer id="1" type="FakeQuantize"><data levels="256"/></layer>)"
                        << R"(<layer id="2" type="Convert"><data destination_type=")" << type << "\"/></layer></layers>"
                        << R"(<edges><edge from-layer="0" from-port="0" to-layer="1" to-port="0"/>)"
                        << R"(<edge from-layer="1" from-port="5" to-layer="2" to-port="0"/></edges></net>)";
    ModelSpec spec;
    spec.format = Format::openvino;
    spec.graph = file;
    return openvino::rounds_to_signed(spec);
  };
  CHECK(is_signed("i8", "Multiply") && !is_signed("u8", "Multiply") && !is_signed("i8", "Const"));
}

void test_cache_folder() {
  setenv("YOLORT_OPENVINO_CACHE", "off", 1);
  CHECK(openvino::ModelCache("a").folder().empty());
  setenv("YOLORT_OPENVINO_CACHE", (folder / "cache").c_str(), 1);
  fs::path first;
  {
    const openvino::ModelCache a("a"), b("b");
    CHECK(fs::is_directory(a.folder()) && a.folder() != b.folder());
    first = a.folder();
  }
  CHECK(openvino::ModelCache("a").folder() == first);
  for (int i = 0; i < 40; ++i) openvino::ModelCache(std::to_string(i));
  CHECK(!fs::exists(first));
  CHECK(std::distance(fs::directory_iterator(folder / "cache"), {}) == 32);
  fs::permissions(folder / "cache", fs::perms::others_write, fs::perm_options::add);
  CHECK(openvino::ModelCache("a").folder().empty());  // another user could put a model there
  unsetenv("YOLORT_OPENVINO_CACHE");
}

// ---- with the library ----

void test_element_types() {
  const openvino::Api& api = openvino::api();
  const std::pair<openvino::ElementType, std::size_t> types[] = {{api.f32, 4}, {api.f16, 2}, {api.i8, 1}};
  for (const auto& [type, size] : types) {
    const auto tensor = openvino::make_tensor(type, {2, 3});
    openvino::ElementType read = 0;
    std::size_t bytes = 0;
    openvino::check(api.tensor_get_element_type(tensor.get(), &read));
    openvino::check(api.tensor_get_byte_size(tensor.get(), &bytes));
    CHECK(read == type && bytes == 6 * size);
  }
}

void test_status() {
  for (const EngineStatus& engine : engines()) {
    if (engine.name != "openvino") continue;
    CHECK(engine.available && engine.version.rfind("20", 0) == 0 && fs::exists(engine.library));
  }
  CHECK(devices("openvino").front().rfind("CPU", 0) == 0);
}

void test_clones_outlive_their_detector() {
  std::vector<Detector> clones;
  std::vector<Detections> expected;
  {
    Detector detector(model, options());
    CHECK(detector.engine() == "openvino" && detector.device() == "cpu" && detector.precision() == "fp32");
    expected = detector.detect({image, image, image}, all());
    for (int i = 0; i < 3; ++i) clones.push_back(detector.clone());
  }
  CHECK(expected.size() == 3 && !expected[0].empty() && expected[0].scores == expected[2].scores);
  std::vector<std::thread> threads;
  for (Detector& clone : clones) {
    threads.emplace_back([&] {
      for (int i = 0; i < 3; ++i) CHECK(clone.detect(image, all()).scores == expected[0].scores);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

void test_devices_that_choose() {
  const std::vector<float> expected = Detector(model, options()).detect(image, all()).scores;
  for (const char* device : {"auto:cpu", "hetero:cpu"}) {
    Options chosen = options();
    chosen.device = device;
    Detector detector(model, chosen);
    CHECK(detector.device() == device && detector.precision() == "fp32");
    CHECK(detector.detect(image, all()).scores.size() == expected.size());
  }
}

void test_layer_times() {
  Options timed = options();
  timed.profile = true;
  Detector detector(model, timed);
  detector.layer_times();
  for (int i = 0; i < 3; ++i) detector.detect(image);
  double sum = 0;
  for (const LayerTime& layer : detector.layer_times()) sum += layer.ms;
  CHECK(sum > 0 && sum < 3 * detector.speed().inference + 100);
  CHECK(detector.layer_times().empty());
}

void test_compiled_models_are_kept() {
  setenv("YOLORT_OPENVINO_CACHE", (folder / "kept").c_str(), 1);
  const std::vector<float> first = Detector(model, options()).detect(image, all()).scores;
  const auto blobs = [] {
    std::vector<fs::path> out;
    for (const auto& entry : fs::recursive_directory_iterator(folder / "kept")) {
      if (entry.path().extension() == ".blob") out.push_back(entry.path());
    }
    return out;
  };
  CHECK(blobs().size() == 1);
  CHECK(Detector(model, options()).detect(image, all()).scores == first);
  CHECK(blobs().size() == 1);
  for (const std::uintmax_t size : {fs::file_size(blobs()[0]) / 2, std::uintmax_t{0}}) {  // a damaged one is replaced
    fs::permissions(blobs()[0], fs::perms::owner_write, fs::perm_options::add);
    fs::resize_file(blobs()[0], size);
    CHECK(Detector(model, options()).detect(image, all()).scores == first);
  }
  std::ifstream file(model, std::ios::binary);
  const std::string contents{std::istreambuf_iterator<char>(file), {}};
  Detector in_memory(ModelBytes{contents.data(), contents.size(), "onnx"}, options());
  CHECK(in_memory.detect(image, all()).scores == first);
  CHECK(blobs().size() == 1);  // what may have been encrypted is not kept
  setenv("YOLORT_OPENVINO_CACHE", "off", 1);
}

void test_signed_models_are_told() {
  std::string told;
  set_warning_handler([&](const std::string& text) { told += text; });
  const fs::path file = folder / "signed.onnx";
  const std::string contents = rounding("image", 3);
  std::ofstream(file, std::ios::binary) << contents;
  Options named = options();
  named.names = {"zero"};
  named.imgsz = {32, 32};
  CHECK_THROWS(Detector(file.string(), named), ModelError, "OpenVINO cannot load it: ");
  CHECK(told.find("its INT8 is signed") != std::string::npos);
  told.clear();
  CHECK_THROWS(Detector(ModelBytes{contents.data(), contents.size(), "onnx"}, named), ModelError,
               "model \"in memory\": OpenVINO cannot load it: ");
  CHECK(told.find("its INT8 is signed") != std::string::npos);
  set_warning_handler(nullptr);
}

void test_refuses() {
  const auto with = [](auto change) {
    Options changed = options();
    change(changed);
    return Detector(model, changed);
  };
  CHECK_THROWS(with([](Options& o) { o.device = "abacus"; }), EngineError, "none of OpenVINO's here");
  CHECK_THROWS(with([](Options& o) { o.device = "cuda:7"; }), EngineError, "GPU(s) here");
  CHECK_THROWS(with([](Options& o) { o.precision = "fp16-storage"; }), std::invalid_argument, "none of openvino's");
}

}  // namespace

int main() {
  fs::create_directories(folder);
  test_names_of_devices();
  test_precision_that_runs();
  test_settings();
  test_signed_rounding_in_onnx();
  test_signed_rounding_in_an_ir();
  test_cache_folder();
  const std::string why = openvino::runtime().why;
  if (why.empty()) {
    setenv("YOLORT_OPENVINO_CACHE", "off", 1);
    test_element_types();
    test_status();
    test_clones_outlive_their_detector();
    test_devices_that_choose();
    test_layer_times();
    test_compiled_models_are_kept();
    test_signed_models_are_told();
    test_refuses();
  } else {
    std::printf("without OpenVINO: %s\n", why.c_str());
  }
  fs::remove_all(folder);
  return check::result();
}
