// The library of ONNX Runtime, opened at run time.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "engines/onnxruntime/api.h"
#include "yolort/yolort.h"

namespace yolort::ort {

struct Runtime {
  std::optional<Api> api;      ///< null: `why` is the reason it cannot run here
  Env* environment = nullptr;  ///< one per process; never released: static sessions may outlive this
  std::string why;
  std::string version;  ///< "1.18.0"
  std::string path;     ///< of the library
};

/// Opens the library on the first call.
const Runtime& runtime();

/// The functions of an opened runtime.
inline const Api& api() { return *runtime().api; }

/// Throws if a call failed; the message is `what` and the reported error.
template <class Failure = EngineError>
void check(const Api& api, Status* status, const std::string& what) {
  if (!status) return;
  const std::string text = api.error_message(status);
  api.release_status(status);
  throw Failure(what + ": " + text);
}
template <class Failure = EngineError>
void check(Status* status, const std::string& what = "engine \"onnxruntime\"") {
  check<Failure>(api(), status, what);
}

struct Release {
  void operator()(SessionOptions* it) const { api().release_session_options(it); }
  void operator()(Session* it) const { api().release_session(it); }
  void operator()(MemoryInfo* it) const { api().release_memory_info(it); }
  void operator()(Allocator* it) const { api().release_allocator(it); }
  void operator()(IoBinding* it) const { api().release_binding(it); }
  void operator()(Value* it) const { api().release_value(it); }
  void operator()(TypeInfo* it) const { api().release_type(it); }
  void operator()(TensorInfo* it) const { api().release_tensor_info(it); }
};
template <class T>
using Owned = std::unique_ptr<T, Release>;

/// Output argument for a library function that creates an object; the owner receives it at the end of the full
/// expression.
template <class T>
class Into {
 public:
  explicit Into(Owned<T>& owner) : owner_(owner) {}
  ~Into() { owner_.reset(made_); }
  Into(const Into&) = delete;
  Into& operator=(const Into&) = delete;
  operator T**() { return &made_; }

 private:
  Owned<T>& owner_;
  T* made_ = nullptr;
};
}  // namespace yolort::ort
