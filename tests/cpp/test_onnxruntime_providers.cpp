// Execution providers, tested with a fake function table, because no machine has all of them.
#include "engines/onnxruntime/providers.h"

#include <array>
#include <cstdlib>
#include <string>
#include <vector>

#include "check.h"
#include "yolort/yolort.h"

using namespace yolort;
using namespace yolort::ort;

namespace {

std::vector<std::string> calls;    ///< in order, with their options
std::vector<std::string> present;  ///< providers that the library has
std::string refused;               ///< a call that fails

using Texts = const char* const*;

Status* call(std::string what, Texts keys = nullptr, Texts values = nullptr, std::size_t count = 0) {
  const bool fails = what == refused;
  for (std::size_t i = 0; i < count; ++i) what += std::string(" ") + keys[i] + "=" + values[i];
  calls.push_back(what);
  static int failure;
  return fails ? reinterpret_cast<Status*>(&failure) : nullptr;
}

template <class Signature>
void* address(Signature* function) {
  return reinterpret_cast<void*>(function);
}

/// Calling any function that providers should not use ends the test.
const void* fake_table() {
  static std::array<void*, 276> table;
  table.fill(address(+[] { std::abort(); }));
  table[2] = address(+[](const Status*) { return "the reason"; });
  table[93] = address(+[](Status*) { calls.emplace_back("release status"); });
  table[125] = address(+[](char*** names, int* count) -> Status* {
    *count = static_cast<int>(present.size());
    *names = new char*[present.size()];
    for (std::size_t i = 0; i < present.size(); ++i) (*names)[i] = present[i].data();
    return nullptr;
  });
  table[126] = address(+[](char** names, int) -> Status* {
    delete[] names;
    return nullptr;
  });
  table[204] = address(+[](SessionOptions*, const CudaOptions*) { return call("append cuda"); });
  table[205] = address(+[](CudaOptions**) { return call("create cuda"); });
  table[206] = address(+[](CudaOptions*, Texts keys, Texts values, std::size_t count) {
    return call("update cuda", keys, values, count);
  });
  table[208] = address(+[](CudaOptions*) { calls.emplace_back("release cuda"); });
  table[170] = address(+[](SessionOptions*, const TensorrtOptions*) { return call("append tensorrt"); });
  table[171] = address(+[](TensorrtOptions** made) {
    static int object;
    *made = reinterpret_cast<TensorrtOptions*>(&object);
    return call("create tensorrt");
  });
  table[172] = address(+[](TensorrtOptions*, Texts keys, Texts values, std::size_t count) {
    return call("update tensorrt", keys, values, count);
  });
  table[174] = address(+[](TensorrtOptions*) { calls.emplace_back("release tensorrt"); });
  table[216] = address(+[](SessionOptions*, const char* name, Texts keys, Texts values, std::size_t count) {
    return call(std::string("append ") + name, keys, values, count);
  });
  table[275] = address(+[](SessionOptions*, Texts keys, Texts values, std::size_t count) {
    return call("append openvino", keys, values, count);
  });
  return table.data();
}

const Api fake(fake_table());

std::vector<std::string> append(const std::string& device, const ProviderOptions& options = {}) {
  calls.clear();
  append_provider(fake, nullptr, parse_placement(device), options, "the library");
  return calls;
}

using Calls = std::vector<std::string>;

void test_devices() {
  for (const auto& [given, expected] : std::vector<std::array<std::string, 2>>{{"", "cpu"},
                                                                               {"cpu", "cpu"},
                                                                               {"cuda:1", "cuda:1"},
                                                                               {"tensorrt", "tensorrt:0"},
                                                                               {"TensorRT:1", "tensorrt:1"},
                                                                               {"openvino", "openvino:CPU"},
                                                                               {"openvino:gpu.1", "openvino:GPU.1"},
                                                                               {"coreml", "coreml"},
                                                                               {"migraphx", "migraphx:0"}}) {
    CHECK(parse_placement(given).device() == expected);
  }
  for (const char* wrong : {"vulkan", "cuda:x", "tensorrt:", "coreml:1", "abacus", ":"}) {
    CHECK_THROWS(parse_placement(wrong), std::invalid_argument,
                 "not supported by onnxruntime; expected cpu, cuda, tensorrt, openvino");
  }
  present = {"CUDAExecutionProvider", "QNNExecutionProvider", "AzureExecutionProvider", "CPUExecutionProvider"};
  CHECK((provider_devices(fake) == Calls{"cpu", "cuda", "qnn"}));
}

void test_each_provider() {
  present = {"CPUExecutionProvider"};
  CHECK(append("cpu").empty());
  present = {"TensorrtExecutionProvider", "CUDAExecutionProvider"};
  CHECK((append("cuda:1", {{"cudnn_conv_algo_search", "HEURISTIC"}}) ==
         Calls{"create cuda", "update cuda cudnn_conv_algo_search=HEURISTIC device_id=1", "append cuda"}));
  CHECK((append("tensorrt:1", {{"trt_fp16_enable", "1"}}) ==
         Calls{"create tensorrt", "update tensorrt device_id=1 trt_fp16_enable=1", "append tensorrt",
               "release tensorrt", "create cuda", "update cuda device_id=1", "append cuda"}));
  present = {"TensorrtExecutionProvider"};
  CHECK(append("tensorrt").size() == 4);
  present = {"OpenVINOExecutionProvider"};
  CHECK((append("openvino:gpu", {{"precision", "FP16"}}) == Calls{"append openvino device_type=GPU precision=FP16"}));
  present = {"DmlExecutionProvider", "CoreMLExecutionProvider", "XnnpackExecutionProvider", "QNNExecutionProvider",
             "MIGraphXExecutionProvider"};
  CHECK((append("directml:2") == Calls{"append DML device_id=2"}));
  CHECK((append("coreml") == Calls{"append CoreML"}));
  CHECK((append("xnnpack") == Calls{"append XNNPACK"}));
  CHECK((append("qnn", {{"backend_type", "htp"}}) == Calls{"append QNN backend_type=htp"}));
  CHECK((append("migraphx") == Calls{"append MIGraphX device_id=0"}));
}

void test_what_is_missing_is_said() {
  present = {"AzureExecutionProvider", "CPUExecutionProvider"};
  const std::string has = "the library has no ", only = ", only AzureExecutionProvider, CPUExecutionProvider; ";
  CHECK_THROWS(append("cuda"), EngineError,
               "device \"cuda:0\": " + has + "CUDAExecutionProvider" + only + "pip install onnxruntime-gpu");
  CHECK_THROWS(append("xnnpack"), EngineError, "build ONNX Runtime with it");
  CHECK_THROWS(append("cpu", {{"device_id", "1"}}), std::invalid_argument,
               "\"device_id\" is an option of an execution");
  present = {"CUDAExecutionProvider", "TensorrtExecutionProvider", "QNNExecutionProvider"};
  for (const char* step : {"create tensorrt", "update tensorrt", "append tensorrt", "create cuda"}) {
    refused = step;
    CHECK_THROWS(append("tensorrt"), EngineError, "device \"tensorrt:0\": the reason");
    CHECK(calls.back() == "release status");
  }
  refused = "append QNN";
  CHECK_THROWS(append("qnn"), EngineError, "device \"qnn\": the reason");
}

}  // namespace

int main() {
  test_devices();
  test_each_provider();
  test_what_is_missing_is_said();
  return check::result();
}
