// A model loaded by ONNX Runtime, with the types and shapes of its input and outputs.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/engine.h"
#include "engines/onnxruntime/profile.h"
#include "engines/onnxruntime/providers.h"
#include "engines/onnxruntime/runtime.h"

namespace yolort::ort {

/// Type and shape of a tensor.
struct TensorType {
  Element element;
  std::vector<std::int64_t> shape;  ///< below 0: any

  explicit TensorType(const TensorInfo* from);
  bool is_float() const { return element == Element::f32 || element == Element::f16; }
};

/// Shared by clones: a session may run in several threads at once.
struct LoadedModel {
  std::string path;                     ///< for messages
  std::unique_ptr<TraceFolder> traces;  ///< null: not profiled; outlives the session, which writes there
  Owned<Session> session;
  std::string input;
  Element element;  ///< of the input
  InputShape shape;
  std::vector<std::string> outputs;
  Placement placement;
  bool cut = false;  ///< see Engine::is_cut()
};

/// The allocator of ordinary memory.
Allocator* default_allocator();

/// Throws ModelError if the library refuses the model or the model does not take one image; EngineError if the device
/// cannot be used; std::invalid_argument.
std::shared_ptr<LoadedModel> load_model(const ModelSpec& spec, const Options& options);

}  // namespace yolort::ort
