// The C++ side of the OpenVINO engine. The contract of all engines is tested from Python. Tests that need the library
// are skipped if it is missing.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "check.h"
#include "core/engine.h"
#include "engines/openvino/api.h"
#include "engines/openvino/compile.h"
#include "engines/openvino/devices.h"
#include "engines/openvino/ir_graph.h"
#include "engines/openvino/model_cache.h"
#include "environment.h"
#include "onnx_bytes.h"
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
  out.precision = "fp32";
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
  CHECK_THROWS(name("vulkan:0", {"CPU"}), EngineError, "not available in OpenVINO here; expected one of: CPU");
  CHECK_THROWS(name("hetero:gpu,cpu", {"CPU"}), EngineError, "not available in OpenVINO here; expected one of: CPU");
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
  CHECK_THROWS(runs("bf16", "", "FP32 FP16"), EngineError,
               "cannot compute in bf16 on gpu.0; supported here: fp32, fp16");
  CHECK(openvino::precision_hint("fp32") == "f32");
  CHECK_THROWS(openvino::precision_hint("fp16-storage"), std::invalid_argument,
               "not supported by openvino; expected one of: fp32, bf16");
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

/// An IR of layers ("id type") and of edges ("from:port to:port").
std::string ir(const std::vector<std::string>& layers, const std::vector<std::string>& edges,
               const std::string& destination = "u8") {
  std::string out = "<?xml version=\"1.0\"?>\n<net name=\"a &gt; b\">\n<layers>\n";
  for (const std::string& layer : layers) {
    const std::size_t space = layer.find(' ');
    const std::string type = layer.substr(space + 1);
    out += "<layer id=\"" + layer.substr(0, space) + "\" name=\"a &gt; b\" type=\"" + type + "\"";
    out += type == "Convert" ? "><data destination_type=\"" + destination + "\"/></layer>\n" : "/>\n";
  }
  out += "</layers>\n<edges>\n";
  for (const std::string& edge : edges) {
    const std::size_t space = edge.find(' '), from = edge.find(':'), to = edge.find(':', space);
    out += "<edge from-layer=\"" + edge.substr(0, from) + "\" from-port=\"" + edge.substr(from + 1, space - from - 1) +
           "\" to-layer=\"" + edge.substr(space + 1, to - space - 1) + "\" to-port=\"" + edge.substr(to + 1) + "\"/>\n";
  }
  return out + "</edges>\n</net>\n";
}

void test_ir_graph() {
  const std::string xml = ir({"0 Parameter", "1 Const", "2 Concat", "3 Result"}, {"1:0 2:1", "0:0 2:0", "2:2 3:0"});
  const Graph graph = openvino::read_ir_graph(xml);
  CHECK(graph.nodes.size() == 4 && graph.nodes[2].type == "Concat");
  CHECK((graph.nodes[2].inputs == std::vector<std::string>{"0:0", "1:0"}));  // in the order of the ports
  CHECK((graph.nodes[2].outputs == std::vector<std::string>{"2:2"} && graph.outputs == graph.nodes[2].outputs));

  const Graph cut = openvino::read_ir_graph(openvino::ir_with_outputs(xml, {"1:0", "0:0"}));
  CHECK((cut.outputs == std::vector<std::string>{"1:0", "0:0"} && cut.nodes.size() == 5));
  for (std::size_t size = 0; size < xml.size(); ++size) {  // no out-of-bounds reads
    const std::string part = xml.substr(0, size);
    openvino::read_ir_graph(part);
    openvino::ir_with_outputs(part, {"0:0", "nothing"});
  }
  CHECK(openvino::read_ir_graph(xml + "<body></body>").nodes.empty());
}

void test_a_huge_ir_is_not_read() {
  ModelSpec spec;
  spec.format = Format::openvino;
  spec.graph = folder / "huge.xml";
  std::ofstream(spec.graph) << ir({"0 Parameter", "1 Result"}, {"0:0 1:0"});
  CHECK(openvino::Source(spec).graph.nodes.size() == 2);
  fs::resize_file(spec.graph, std::uintmax_t{1} << 40);
  CHECK(openvino::Source(spec).graph.nodes.empty());
}

void test_signed_rounding_in_an_ir() {
  const auto is_signed = [](const std::string& type, const std::string& rounded) {
    return rounds_activations_to_int8(openvino::read_ir_graph(
        ir({"0 " + rounded, "1 FakeQuantize", "2 Convert", "3 Result"}, {"0:0 1:0", "1:5 2:0", "2:1 3:0"}, type)));
  };
  CHECK(is_signed("i8", "Multiply") && !is_signed("u8", "Multiply") && !is_signed("i8", "Const"));
}

void test_cache_folder() {
  check::set_variable("YOLORT_OPENVINO_CACHE", "off");
  CHECK(openvino::ModelCache("a").folder().empty());
  check::set_variable("YOLORT_OPENVINO_CACHE", (folder / "cache").string());
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
  check::unset_variable("YOLORT_OPENVINO_CACHE");
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
  check::set_variable("YOLORT_OPENVINO_CACHE", (folder / "kept").string());
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
  CHECK(blobs().size() == 1);  // a possibly decrypted model is not cached
  check::set_variable("YOLORT_OPENVINO_CACHE", "off");
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
  CHECK(told.find("signed INT8 wrongly") != std::string::npos);
  told.clear();
  CHECK_THROWS(Detector(ModelBytes{contents.data(), contents.size(), "onnx"}, named), ModelError,
               "model \"in memory\": OpenVINO cannot load it: ");
  CHECK(told.find("signed INT8 wrongly") != std::string::npos);
  set_warning_handler(nullptr);
}

void test_refuses() {
  const auto with = [](auto change) {
    Options changed = options();
    change(changed);
    return Detector(model, changed);
  };
  CHECK_THROWS(with([](Options& o) { o.device = "abacus"; }), EngineError, "not available in OpenVINO here");
  CHECK_THROWS(with([](Options& o) { o.device = "cuda:7"; }), EngineError, "GPU(s) here");
  CHECK_THROWS(with([](Options& o) { o.precision = "fp16-storage"; }), std::invalid_argument,
               "not supported by openvino");
}

}  // namespace

int main() {
  fs::create_directories(folder);
  test_names_of_devices();
  test_precision_that_runs();
  test_settings();
  test_ir_graph();
  test_a_huge_ir_is_not_read();
  test_signed_rounding_in_an_ir();
  test_cache_folder();
  const std::string why = openvino::runtime().why;
  if (why.empty()) {
    check::set_variable("YOLORT_OPENVINO_CACHE", "off");
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
