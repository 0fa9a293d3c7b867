// OpenVINO's C API (libopenvino_c.so of 2024.4 to 2026.4), opened at run time. The declarations are our own, so that
// the build needs no OpenVINO headers. Constants that differ between versions are queried from the library.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "yolort/yolort.h"

namespace yolort::openvino {

using Status = int;  ///< 0: fine
using ElementType = unsigned;

struct Core;
struct Model;
struct CompiledModel;
struct InferRequest;
struct Port;
struct Tensor;

struct Shape {
  std::int64_t rank;
  std::int64_t* sides;
};
struct Dimension {
  std::int64_t min, max;
  bool fixed() const { return min == max; }
};
struct PartialShape {
  Dimension rank;
  Dimension* sides;
};
struct Version {
  const char *number, *description;
};
struct DeviceList {
  char** names;
  std::size_t size;
};
struct LayerProfile {
  int status;
  std::int64_t real_us, cpu_us;
  const char *name, *execution, *type;
};
struct LayerProfileList {
  LayerProfile* layers;
  std::size_t size;
};

/// The functions of the library, without their prefix "ov_".
struct Api {
#define YOLORT_OPENVINO_FUNCTIONS(X)                                                                              \
  X(get_openvino_version, Status(Version*))                                                                       \
  X(version_free, void(Version*))                                                                                 \
  X(get_error_info, const char*(Status))                                                                          \
  X(get_last_err_msg, const char*())                                                                              \
  X(free, void(const char*))                                                                                      \
  X(core_create, Status(Core**))                                                                                  \
  X(core_get_available_devices, Status(const Core*, DeviceList*))                                                 \
  X(available_devices_free, void(DeviceList*))                                                                    \
  X(core_get_property, Status(const Core*, const char* device, const char* key, char** value))                    \
  X(core_read_model_from_memory_buffer,                                                                           \
    Status(const Core*, const char* text, std::size_t size, const Tensor* weights, Model**))                      \
  X(model_free, void(Model*))                                                                                     \
  /* The pairs of key and value follow; the number is that of both together. */                                   \
  X(core_compile_model, Status(const Core*, const Model*, const char* device, std::size_t, CompiledModel**, ...)) \
  X(core_compile_model_from_file,                                                                                 \
    Status(const Core*, const char* path, const char* device, std::size_t, CompiledModel**, ...))                 \
  X(compiled_model_free, void(CompiledModel*))                                                                    \
  X(compiled_model_get_property, Status(const CompiledModel*, const char* key, char** value))                     \
  X(compiled_model_inputs_size, Status(const CompiledModel*, std::size_t*))                                       \
  X(compiled_model_outputs_size, Status(const CompiledModel*, std::size_t*))                                      \
  X(compiled_model_input_by_index, Status(const CompiledModel*, std::size_t, Port**))                             \
  X(compiled_model_create_infer_request, Status(const CompiledModel*, InferRequest**))                            \
  X(output_const_port_free, void(Port*))                                                                          \
  X(port_get_element_type, Status(const Port*, ElementType*))                                                     \
  X(port_get_partial_shape, Status(const Port*, PartialShape*))                                                   \
  X(partial_shape_free, void(PartialShape*))                                                                      \
  X(infer_request_free, void(InferRequest*))                                                                      \
  X(infer_request_set_input_tensor_by_index, Status(InferRequest*, std::size_t, const Tensor*))                   \
  X(infer_request_get_output_tensor_by_index, Status(const InferRequest*, std::size_t, Tensor**))                 \
  X(infer_request_infer, Status(InferRequest*))                                                                   \
  X(infer_request_get_profiling_info, Status(const InferRequest*, LayerProfileList*))                             \
  X(profiling_info_list_free, void(LayerProfileList*))                                                            \
  X(tensor_create, Status(ElementType, Shape, Tensor**))                                                          \
  X(tensor_create_from_host_ptr, Status(ElementType, Shape, void*, Tensor**))                                     \
  X(tensor_free, void(Tensor*))                                                                                   \
  X(tensor_data, Status(const Tensor*, void**))                                                                   \
  X(tensor_get_byte_size, Status(const Tensor*, std::size_t*))                                                    \
  X(tensor_get_element_type, Status(const Tensor*, ElementType*))                                                 \
  X(tensor_get_shape, Status(const Tensor*, Shape*))                                                              \
  X(shape_free, Status(Shape*))

#define YOLORT_OPENVINO_MEMBER(name, ...) std::add_pointer_t<__VA_ARGS__> name = nullptr;
  YOLORT_OPENVINO_FUNCTIONS(YOLORT_OPENVINO_MEMBER)
#undef YOLORT_OPENVINO_MEMBER

  // Numbers of element types; they differ between versions.
  ElementType f16 = 0, f32 = 0, i8 = 0;
};

struct Runtime {
  Api api;
  Core* core = nullptr;  ///< one per process; never released: static models may outlive this
  std::string version;   ///< such as "2026.4.1"
  std::string path;      ///< of the library
  std::string why;       ///< why it cannot run here; empty if it can
};

/// Opened at the first call.
const Runtime& runtime();
inline const Api& api() { return runtime().api; }

/// OpenVINO's text for a failed call.
std::string error_text(Status status);

/// Throws if a call failed; `what` begins the message.
template <class Failure = EngineError>
void check(Status status, const std::string& what = "engine \"openvino\"") {
  if (status != 0) throw Failure(what + ": " + error_text(status));
}

struct Release {
  void operator()(Model* it) const { api().model_free(it); }
  void operator()(CompiledModel* it) const { api().compiled_model_free(it); }
  void operator()(InferRequest* it) const { api().infer_request_free(it); }
  void operator()(Port* it) const { api().output_const_port_free(it); }
  void operator()(Tensor* it) const { api().tensor_free(it); }
};
template <class T>
using Owned = std::unique_ptr<T, Release>;

/// A new tensor of zeros that owns its memory.
Owned<Tensor> make_tensor(ElementType type, const std::vector<int>& shape);
void* data_of(const Tensor& tensor);

/// A property of a device or compiled model, as text; empty if it has no such property.
std::string device_property(const std::string& device, const char* key);
std::string model_property(const CompiledModel& model, const char* key);

std::vector<std::string> available_devices();

}  // namespace yolort::openvino
