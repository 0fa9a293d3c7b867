#include "engines/openvino/api.h"

#include <cstring>

#include "platform/dynamic_library.h"

namespace yolort::openvino {
namespace {

/// A text that the library has allocated.
std::string take_text(const Api& api, const char* text) {
  const std::string out = text ? text : "";
  api.free(text);
  return out;
}

/// "2026.4.1" of "2026.4.1-22982-e31faf84595-releases/2026/4".
std::string read_version(const Api& api) {
  Version version{};
  if (api.get_openvino_version(&version) != 0) return {};
  const std::string number = version.number ? version.number : "";
  api.version_free(&version);
  return number.substr(0, number.find_first_not_of("0123456789."));
}

/// Bytes that eight elements of a type take; 0 if the library does not know the type.
std::size_t bytes_of_eight(const Api& api, ElementType type) {
  std::int64_t sides[] = {8};
  Tensor* tensor = nullptr;
  std::size_t bytes = 0;
  if (api.tensor_create(type, {1, sides}, &tensor) != 0) return 0;
  if (api.tensor_get_byte_size(tensor, &bytes) != 0) bytes = 0;
  api.tensor_free(tensor);
  return bytes;
}

/// f16, f32, f64, i4 and i8 are consecutive in every version, starting at 3 (2025.4) or 4 (2024.4).
bool number_types(Api& api) {
  for (const ElementType f16 : {3u, 4u}) {
    const std::size_t expected[] = {16, 32, 64, 4, 8};
    bool same = true;
    for (unsigned i = 0; i < 5; ++i) same = same && bytes_of_eight(api, f16 + i) == expected[i];
    if (!same) continue;
    api.f16 = f16, api.f32 = f16 + 1, api.i8 = f16 + 4;
    return true;
  }
  return false;
}

Runtime open_runtime() {
  Runtime out;
  void* library = open_library("libopenvino_c.so", &out.why);
  if (!library) {
    out.why = out.why.empty() ? "libopenvino_c.so is not found; pip install openvino, or add its folder to "
                                "YOLORT_LIBRARY_PATH"
                              : "OpenVINO is installed, but cannot be opened: " + out.why;
    return out;
  }
  Api& api = out.api;
#define YOLORT_OPENVINO_OPEN(name, ...)                                                  \
  api.name = reinterpret_cast<decltype(Api::name)>(find_function(library, "ov_" #name)); \
  if (!api.name) out.why = "OpenVINO lacks ov_" #name "; it runs with 2024.4 to 2026.4";
  YOLORT_OPENVINO_FUNCTIONS(YOLORT_OPENVINO_OPEN)
#undef YOLORT_OPENVINO_OPEN
  out.path = library_path(reinterpret_cast<const void*>(api.core_create));
  if (!out.why.empty()) return out;
  out.version = read_version(api);
  if (!number_types(api)) {
    out.why = "OpenVINO " + out.version +
              " numbers element types differently from versions 2024.4 to 2026.4; pip install "
              "\"openvino<=2026.4\"";
  } else if (const Status status = api.core_create(&out.core); status != 0) {
    out.why = std::string("OpenVINO does not start: ") + api.get_error_info(status);
  }
  return out;
}

}  // namespace

const Runtime& runtime() {
  static const Runtime instance = open_runtime();
  return instance;
}

std::string error_text(Status status) {
  std::string text = take_text(api(), api().get_last_err_msg());
  while (!text.empty() && std::strchr("\n ", text.back())) text.pop_back();
  return text.empty() ? api().get_error_info(status) : text;
}

Owned<Tensor> make_tensor(ElementType type, const std::vector<int>& shape) {
  std::vector<std::int64_t> sides(shape.begin(), shape.end());
  Tensor* tensor = nullptr;
  check(api().tensor_create(type, {static_cast<std::int64_t>(sides.size()), sides.data()}, &tensor));
  Owned<Tensor> out(tensor);
  std::size_t bytes = 0;
  check(api().tensor_get_byte_size(tensor, &bytes));
  std::memset(data_of(*tensor), 0, bytes);
  return out;
}

void* data_of(const Tensor& tensor) {
  void* data = nullptr;
  check(api().tensor_data(&tensor, &data));
  return data;
}

std::string device_property(const std::string& device, const char* key) {
  char* value = nullptr;
  return api().core_get_property(runtime().core, device.c_str(), key, &value) == 0 ? take_text(api(), value) : "";
}

std::string model_property(const CompiledModel& model, const char* key) {
  char* value = nullptr;
  return api().compiled_model_get_property(&model, key, &value) == 0 ? take_text(api(), value) : "";
}

std::vector<std::string> available_devices() {
  DeviceList devices{};
  check(api().core_get_available_devices(runtime().core, &devices));
  const std::vector<std::string> out(devices.names, devices.names + devices.size);
  api().available_devices_free(&devices);
  return out;
}

}  // namespace yolort::openvino
