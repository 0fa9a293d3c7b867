#include "engines/onnxruntime/providers.h"

#include <algorithm>
#include <cctype>
#include <memory>
#include <string_view>

#include "engines/onnxruntime/runtime.h"
#include "platform/device_name.h"

namespace yolort::ort {
namespace {

constexpr Provider providers[] = {
    {"cuda", "CUDAExecutionProvider", "CUDA", "onnxruntime-gpu", "device_id"},
    {"tensorrt", "TensorrtExecutionProvider", "TensorRT", "onnxruntime-gpu", "device_id"},
    {"openvino", "OpenVINOExecutionProvider", "OpenVINO", "onnxruntime-openvino", "device_type"},
    {"directml", "DmlExecutionProvider", "DML", "onnxruntime-directml", "device_id"},
    {"coreml", "CoreMLExecutionProvider", "CoreML", "onnxruntime (on macOS)", nullptr},
    {"xnnpack", "XnnpackExecutionProvider", "XNNPACK", nullptr, nullptr},
    {"qnn", "QNNExecutionProvider", "QNN", "onnxruntime-qnn", nullptr},
    {"migraphx", "MIGraphXExecutionProvider", "MIGraphX", "onnxruntime-migraphx", "device_id"},
};
constexpr std::string_view openvino = "openvino", cuda = "cuda", tensorrt = "tensorrt";

std::vector<std::string> available(const Api& api) {
  char** names = nullptr;
  int count = 0;
  check(api, api.available_providers(&names, &count), "engine \"onnxruntime\"");
  std::vector<std::string> out(names, names + count);
  check(api, api.release_available_providers(names, count), "engine \"onnxruntime\"");
  return out;
}

bool has(const std::vector<std::string>& names, const Provider& provider) {
  return std::find(names.begin(), names.end(), provider.name) != names.end();
}

std::string join(const std::vector<std::string>& texts) {
  std::string out;
  for (const std::string& text : texts) out += (out.empty() ? "" : ", ") + text;
  return out;
}

/// Keys and values in the form that the library takes.
struct KeyValues {
  std::vector<const char*> keys, values;

  explicit KeyValues(const ProviderOptions& options) {
    for (const auto& [key, value] : options) {
      keys.push_back(key.c_str());
      values.push_back(value.c_str());
    }
  }
};

/// Appends a provider whose options are an object of the library.
template <class Options>
Status* append(SessionOptions* session, const KeyValues& given, Status* (*create)(Options**),
               Status* (*update)(Options*, const char* const*, const char* const*, std::size_t),
               void (*release)(Options*), Status* (*add)(SessionOptions*, const Options*)) {
  Options* made = nullptr;
  if (Status* status = create(&made)) return status;
  const std::unique_ptr<Options, void (*)(Options*)> options(made, release);
  if (Status* status = update(made, given.keys.data(), given.values.data(), given.keys.size())) return status;
  return add(session, made);
}

Status* append(const Api& api, SessionOptions* session, const Provider& provider, const ProviderOptions& options) {
  const KeyValues given(options);
  if (provider.kind == cuda) {
    return append(session, given, api.create_cuda_options, api.update_cuda_options, api.release_cuda_options,
                  api.append_cuda);
  }
  if (provider.kind == tensorrt) {
    return append(session, given, api.create_tensorrt_options, api.update_tensorrt_options,
                  api.release_tensorrt_options, api.append_tensorrt);
  }
  if (provider.kind == openvino) {
    return api.append_openvino(session, given.keys.data(), given.values.data(), given.keys.size());
  }
  return api.append_provider(session, provider.short_name, given.keys.data(), given.values.data(), given.keys.size());
}

}  // namespace

std::string Placement::device() const {
  if (!provider) return "cpu";
  return place.empty() ? provider->kind : std::string(provider->kind) + ":" + place;
}

Placement parse_placement(const std::string& device) {
  if (device.empty() || device == "cpu") return {};
  const std::size_t colon = std::min(device.find(':'), device.size());
  std::string kind = device.substr(0, colon);
  std::transform(kind.begin(), kind.end(), kind.begin(), [](unsigned char c) { return std::tolower(c); });
  std::string place = device.substr(std::min(colon + 1, device.size()));
  std::string kinds;
  for (const Provider& provider : providers) {
    kinds += std::string(", ") + provider.kind;
    if (kind != provider.kind) continue;
    if (!provider.place && colon == device.size()) return {&provider, ""};
    if (kind == openvino) {  // any name of OpenVINO's own
      std::transform(place.begin(), place.end(), place.begin(), [](unsigned char c) { return std::toupper(c); });
      return {&provider, place.empty() ? "CPU" : place};
    }
    const int index = provider.place ? device_index(kind + device.substr(colon), kind) : -1;
    if (index >= 0) return {&provider, std::to_string(index)};
  }
  throw std::invalid_argument("device \"" + device + "\" is not supported by onnxruntime; expected cpu" + kinds +
                              "; select one of several with cuda:1, tensorrt:1 or openvino:GPU");
}

std::vector<std::string> provider_devices(const Api& api) {
  const std::vector<std::string> names = available(api);
  std::vector<std::string> out = {"cpu"};
  for (const Provider& provider : providers) {
    if (has(names, provider)) out.emplace_back(provider.kind);
  }
  return out;
}

void append_provider(const Api& api, SessionOptions* session, const Placement& placement, ProviderOptions options,
                     const std::string& library) {
  if (!placement.provider) {
    if (options.empty()) return;
    throw std::invalid_argument(
        "engine_options: \"" + options.begin()->first +
        "\" is an option of an execution provider, but the CPU provider has no options; session options "
        "have a dot in their name, such as session.intra_op.allow_spinning");
  }
  const Provider& provider = *placement.provider;
  const std::string what = "device \"" + placement.device() + "\"";
  const std::vector<std::string> names = available(api);
  if (!has(names, provider)) {
    throw EngineError(what + ": " + library + " has no " + provider.name + ", only " + join(names) + "; " +
                      (provider.package ? std::string("pip install ") + provider.package
                                        : std::string("build ONNX Runtime with it")));
  }
  if (provider.place) options.emplace(provider.place, placement.place);
  check(api, append(api, session, provider, options), what);
  if (provider.kind == tensorrt) {  // what TensorRT does not run stays on the GPU
    for (const Provider& other : providers) {
      if (other.kind != cuda || !has(names, other)) continue;
      check(api, append(api, session, other, {{other.place, placement.place}}), what);
    }
  }
}

}  // namespace yolort::ort
