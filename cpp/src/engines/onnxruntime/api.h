// Our own declarations of the part of ONNX Runtime's C API that is used here. The library provides one table of
// function pointers. A function never changes its position in it: later versions only append. The positions are
// those of the struct OrtApi in onnxruntime_c_api.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>

namespace yolort::ort {

using PathChar = std::filesystem::path::value_type;  ///< wide on Windows

// Objects of the library.
struct Allocator;
struct CudaOptions;
struct Env;
struct IoBinding;
struct MemoryInfo;
struct RunOptions;
struct Session;
struct SessionOptions;
struct Status;  ///< of a call that failed; null: it succeeded
struct TensorInfo;
struct TensorrtOptions;
struct TypeInfo;
struct Value;

/// The element types of a tensor that are read here.
enum class Element : int { f32 = 1, f16 = 10 };

enum class LogLevel : int { fatal = 4 };
enum class AllocatorType : int { device = 0 };
enum class MemoryType : int { cpu_output = -1, standard = 0 };

/// The return value of OrtGetApiBase().
struct ApiBase {
  const void* (*table)(std::uint32_t version);  ///< null for a version that the library does not have
  const char* (*version)();                     ///< "1.18.0"
};

/// The requested version of the table: that of ONNX Runtime 1.18, which has every function below.
inline constexpr std::uint32_t api_version = 18;

struct Api {
  explicit Api(const void* functions) : table(static_cast<void* const*>(functions)) {}

  void* const* table;

  const char* (*error_message)(const Status*) = at(2);
  void (*release_status)(Status*) = at(93);

  Status* (*create_env)(LogLevel, const char* name, Env**) = at(3);

  Status* (*available_providers)(char*** names, int* count) = at(125);
  Status* (*release_available_providers)(char** names, int count) = at(126);

  Status* (*create_session_options)(SessionOptions**) = at(10);
  Status* (*enable_profiling)(SessionOptions*, const PathChar* file_prefix) = at(14);
  Status* (*set_intra_op_threads)(SessionOptions*, int) = at(24);
  Status* (*add_session_config_entry)(SessionOptions*, const char* key, const char* value) = at(130);
  void (*release_session_options)(SessionOptions*) = at(100);

  // Execution providers; options are keys and values.
  Status* (*append_provider)(SessionOptions*, const char* name, const char* const* keys, const char* const* values,
                             std::size_t count) = at(216);
  Status* (*append_cuda)(SessionOptions*, const CudaOptions*) = at(204);
  Status* (*create_cuda_options)(CudaOptions**) = at(205);
  Status* (*update_cuda_options)(CudaOptions*, const char* const* keys, const char* const* values,
                                 std::size_t count) = at(206);
  void (*release_cuda_options)(CudaOptions*) = at(208);
  Status* (*append_tensorrt)(SessionOptions*, const TensorrtOptions*) = at(170);
  Status* (*create_tensorrt_options)(TensorrtOptions**) = at(171);
  Status* (*update_tensorrt_options)(TensorrtOptions*, const char* const* keys, const char* const* values,
                                     std::size_t count) = at(172);
  void (*release_tensorrt_options)(TensorrtOptions*) = at(174);
  Status* (*append_openvino)(SessionOptions*, const char* const* keys, const char* const* values,
                             std::size_t count) = at(275);

  Status* (*create_session)(const Env*, const PathChar* path, const SessionOptions*, Session**) = at(7);
  Status* (*create_session_from_array)(const Env*, const void* model, std::size_t bytes, const SessionOptions*,
                                       Session**) = at(8);
  void (*release_session)(Session*) = at(95);
  Status* (*input_count)(const Session*, std::size_t*) = at(30);
  Status* (*output_count)(const Session*, std::size_t*) = at(31);
  Status* (*input_type)(const Session*, std::size_t index, TypeInfo**) = at(33);
  Status* (*input_name)(const Session*, std::size_t index, Allocator*, char**) = at(36);
  Status* (*output_name)(const Session*, std::size_t index, Allocator*, char**) = at(37);
  Status* (*end_profiling)(Session*, Allocator*, char** file) = at(110);

  Status* (*type_as_tensor)(const TypeInfo*, const TensorInfo**) = at(55);  ///< part of the TypeInfo; null: no tensor
  void (*release_type)(TypeInfo*) = at(98);
  Status* (*element_type)(const TensorInfo*, Element*) = at(60);
  Status* (*dimension_count)(const TensorInfo*, std::size_t*) = at(61);
  Status* (*dimensions)(const TensorInfo*, std::int64_t* sides, std::size_t count) = at(62);
  void (*release_tensor_info)(TensorInfo*) = at(99);

  Status* (*create_tensor)(const MemoryInfo*, void* data, std::size_t bytes, const std::int64_t* shape,
                           std::size_t dimensions, Element, Value**) = at(49);  ///< borrows the data
  Status* (*tensor_data)(Value*, void**) = at(51);
  Status* (*tensor_info)(const Value*, TensorInfo**) = at(65);
  void (*release_value)(Value*) = at(96);

  Status* (*create_memory_info)(const char* name, AllocatorType, int device, MemoryType, MemoryInfo**) = at(68);
  Status* (*create_cpu_memory_info)(AllocatorType, MemoryType, MemoryInfo**) = at(69);
  void (*release_memory_info)(MemoryInfo*) = at(94);

  Status* (*default_allocator)(Allocator**) = at(78);  ///< never released
  Status* (*create_allocator)(const Session*, const MemoryInfo*, Allocator**) = at(131);
  Status* (*allocate)(Allocator*, std::size_t bytes, void**) = at(75);
  Status* (*free)(Allocator*, void*) = at(76);
  void (*release_allocator)(Allocator*) = at(132);

  Status* (*create_binding)(Session*, IoBinding**) = at(134);
  Status* (*bind_input)(IoBinding*, const char* name, const Value*) = at(136);  ///< copies it to another device
  Status* (*bind_output)(IoBinding*, const char* name, const Value*) = at(137);
  Status* (*bind_output_to_device)(IoBinding*, const char* name, const MemoryInfo*) = at(138);
  Status* (*bound_outputs)(const IoBinding*, Allocator*, Value***, std::size_t*) = at(140);
  void (*clear_bound_outputs)(IoBinding*) = at(142);
  Status* (*synchronize_inputs)(IoBinding*) = at(202);
  Status* (*synchronize_outputs)(IoBinding*) = at(203);
  Status* (*run_with_binding)(Session*, const RunOptions*, const IoBinding*) = at(133);
  void (*release_binding)(IoBinding*) = at(135);

 private:
  /// An entry of the table; its type is deduced from the variable it is assigned to.
  struct Function {
    void* address;
    template <class Signature>
    operator Signature*() const {
      return reinterpret_cast<Signature*>(address);
    }
  };
  Function at(std::size_t position) const { return {table[position]}; }
};

}  // namespace yolort::ort
