// ONNX Runtime through its C API, for programs without Python. The library is opened at run time. Input and outputs are
// bound to our own buffers, so that nothing is copied or allocated in a run.
#include <dlfcn.h>
#include <onnxruntime_c_api.h>

#include <climits>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "core/engine.h"
#include "platform/device_name.h"
#include "platform/dynamic_library.h"

namespace yolort {
namespace {

/// The oldest version that has every function called here, that of ONNX Runtime 1.11; later ones only add functions.
constexpr std::uint32_t api_version = 11;

struct Runtime {
  const OrtApi* api = nullptr;
  OrtEnv* environment = nullptr;  ///< one per process; never released, as sessions of other statics may outlive this
  std::string why;                ///< why it cannot run here
};

template <class Failure>
void check(const OrtApi& api, OrtStatus* status, const std::string& what) {
  if (!status) return;
  const std::string text = api.GetErrorMessage(status);
  api.ReleaseStatus(status);
  throw Failure(what + ": " + text);
}

Runtime open_runtime() {
  Runtime out;
  const char* path = std::getenv("YOLORT_ONNXRUNTIME");
  if (path && !*path) path = nullptr;
  void* library = nullptr;
  std::string name;
  for (const std::string& candidate :
       path ? std::vector<std::string>{path} : std::vector<std::string>{"libonnxruntime.so.1", "libonnxruntime.so"}) {
    name = candidate;
    library = open_library(candidate, &out.why);
    if (library) break;
  }
  if (!library) {
    if (out.why.empty()) {
      out.why = path ? "YOLORT_ONNXRUNTIME is \"" + name + "\", which cannot be opened; it is the path of the library"
                     : "libonnxruntime.so.1 is not found; add its folder to LD_LIBRARY_PATH, or set "
                       "YOLORT_ONNXRUNTIME to its path (in the Python package: onnxruntime/capi/libonnxruntime.so.*)";
    }
    return out;
  }
  out.why.clear();
  const auto base = reinterpret_cast<const OrtApiBase* (*)()>(dlsym(library, "OrtGetApiBase"));
  const OrtApi* api = base ? base()->GetApi(api_version) : nullptr;
  if (!api) {
    out.why = name + " is no ONNX Runtime of version 1.11 or later";
    return out;
  }
  try {
    check<EngineError>(*api, api->CreateEnv(ORT_LOGGING_LEVEL_FATAL, "yolort", &out.environment), name);
    out.api = api;
  } catch (const EngineError& error) {
    out.why = error.what();
  }
  return out;
}

/// Opened at the first call.
const Runtime& runtime() {
  static const Runtime instance = open_runtime();
  return instance;
}

const OrtApi& ort() { return *runtime().api; }

struct Release {
  void operator()(OrtSessionOptions* it) const { ort().ReleaseSessionOptions(it); }
  void operator()(OrtSession* it) const { ort().ReleaseSession(it); }
  void operator()(OrtMemoryInfo* it) const { ort().ReleaseMemoryInfo(it); }
  void operator()(OrtIoBinding* it) const { ort().ReleaseIoBinding(it); }
  void operator()(OrtValue* it) const { ort().ReleaseValue(it); }
  void operator()(OrtTypeInfo* it) const { ort().ReleaseTypeInfo(it); }
  void operator()(OrtTensorTypeAndShapeInfo* it) const { ort().ReleaseTensorTypeAndShapeInfo(it); }
};
template <class T>
using Owned = std::unique_ptr<T, Release>;

void check(OrtStatus* status, const std::string& what = "engine \"onnxruntime\"") {
  check<EngineError>(ort(), status, what);
}

OrtAllocator* allocator() {
  OrtAllocator* out = nullptr;
  check(ort().GetAllocatorWithDefaultOptions(&out));
  return out;
}

struct TensorInfo {
  ONNXTensorElementDataType type;
  std::vector<std::int64_t> shape;  ///< below 0: any

  explicit TensorInfo(const OrtTensorTypeAndShapeInfo* from) {
    check(ort().GetTensorElementType(from, &type));
    std::size_t dimensions = 0;
    check(ort().GetDimensionsCount(from, &dimensions));
    shape.resize(dimensions);
    check(ort().GetDimensions(from, shape.data(), dimensions));
  }
  bool is_float() const {
    return type == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT || type == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16;
  }
};

/// The loaded model, shared by clones: ONNX Runtime's run is thread-safe.
struct Session {
  Owned<OrtSession> session;
  std::string input;
  ONNXTensorElementDataType type;
  InputShape shape;
  std::vector<std::string> outputs;
  std::string device;
};

class OnnxRuntimeEngine final : public Engine {
 public:
  explicit OnnxRuntimeEngine(std::shared_ptr<const Session> session) : session_(std::move(session)) {
    OrtMemoryInfo* memory = nullptr;
    check(ort().CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, &memory));
    memory_.reset(memory);
  }

  InputShape input_shape() const override { return session_->shape; }

  Tensor input(int batch, int height, int width) override {
    const bool half = session_->type == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16;
    const std::vector<int> shape = {batch, 3, height, width};
    if (shape != shape_) bind(shape, half ? 2 : 4);
    return {input_.data(), shape, static_cast<std::ptrdiff_t>(height) * width, half ? Type::f16 : Type::f32};
  }

  const std::vector<Tensor>& run() override {
    check(ort().RunWithBinding(session_->session.get(), nullptr, binding_.get()),
          "engine \"onnxruntime\" failed to run the model");
    if (tensors_.empty()) keep_outputs();
    return tensors_;
  }

  std::unique_ptr<Engine> clone() const override { return std::make_unique<OnnxRuntimeEngine>(session_); }
  std::string device() const override { return session_->device; }
  std::string precision() const override { return {}; }

 private:
  void bind(const std::vector<int>& shape, std::size_t element) {
    tensors_.clear();
    values_.clear();
    binding_.reset();
    shape_.clear();
    std::size_t bytes = element;
    for (const int side : shape) bytes *= static_cast<std::size_t>(side);
    input_.assign(bytes, 0);
    const std::vector<std::int64_t> sides(shape.begin(), shape.end());
    OrtValue* value = nullptr;
    check(ort().CreateTensorWithDataAsOrtValue(memory_.get(), input_.data(), bytes, sides.data(), sides.size(),
                                               session_->type, &value));
    const Owned<OrtValue> owned(value);
    OrtIoBinding* binding = nullptr;
    check(ort().CreateIoBinding(session_->session.get(), &binding));
    binding_.reset(binding);
    check(ort().BindInput(binding, session_->input.c_str(), value));
    for (const std::string& output : session_->outputs) {
      check(ort().BindOutputToDevice(binding, output.c_str(), memory_.get()));
    }
    shape_ = shape;
  }

  /// The first run gave the shapes: from now on ONNX Runtime writes into the tensors that it made then.
  void keep_outputs() {
    OrtValue** outputs = nullptr;
    std::size_t count = 0;
    check(ort().GetBoundOutputValues(binding_.get(), allocator(), &outputs, &count));
    for (std::size_t i = 0; i < count; ++i) values_.emplace_back(outputs[i]);
    check(ort().AllocatorFree(allocator(), outputs));
    ort().ClearBoundOutputs(binding_.get());
    std::vector<Tensor> tensors;
    for (std::size_t i = 0; i < count; ++i) {
      check(ort().BindOutput(binding_.get(), session_->outputs[i].c_str(), values_[i].get()));
      tensors.push_back(as_tensor(values_[i].get()));
    }
    tensors_ = std::move(tensors);
  }

  static Tensor as_tensor(OrtValue* value) {
    OrtTensorTypeAndShapeInfo* info = nullptr;
    check(ort().GetTensorTypeAndShape(value, &info));
    const TensorInfo tensor{Owned<OrtTensorTypeAndShapeInfo>(info).get()};
    const std::size_t dimensions = tensor.shape.size();
    if (!tensor.is_float() || dimensions < 3 || dimensions > 4) {
      throw ModelError("an output is no float32 or float16 of 3 or 4 dimensions");
    }
    Tensor out;
    check(ort().GetTensorMutableData(value, &out.data));
    out.type = tensor.type == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT ? Type::f32 : Type::f16;
    out.shape.assign(tensor.shape.begin(), tensor.shape.end());
    out.channel_stride = 1;
    for (std::size_t d = 2; d < dimensions; ++d) out.channel_stride *= out.shape[d];
    return out;
  }

  std::shared_ptr<const Session> session_;  // first: it is released last
  Owned<OrtMemoryInfo> memory_;
  std::vector<int> shape_;
  std::vector<unsigned char> input_;
  Owned<OrtIoBinding> binding_;
  std::vector<Owned<OrtValue>> values_;
  std::vector<Tensor> tensors_;
};

/// -1: the CPU; else the index of a GPU, of a canonical device name.
int parse_device(const std::string& device) {
  if (device.empty() || device == "cpu") return -1;
  const int index = device_index(device, "cuda");
  if (index < 0) throw std::invalid_argument("device \"" + device + "\" is none of onnxruntime's: cpu, cuda, cuda:1");
  return index;
}

std::string take_name(char* name) {
  const std::string out = name;
  check(ort().AllocatorFree(allocator(), name));
  return out;
}

/// Throws ModelError if the model does not take one image.
void read_inputs(const ModelSpec& spec, Session& session) {
  const OrtSession* from = session.session.get();
  std::size_t inputs = 0, outputs = 0;
  check(ort().SessionGetInputCount(from, &inputs));
  check(ort().SessionGetOutputCount(from, &outputs));
  if (inputs != 1) {
    throw ModelError("model \"" + spec.path + "\" has " + std::to_string(inputs) + " inputs, expected one image");
  }
  char* name = nullptr;
  check(ort().SessionGetInputName(from, 0, allocator(), &name));
  session.input = take_name(name);
  for (std::size_t i = 0; i < outputs; ++i) {
    check(ort().SessionGetOutputName(from, i, allocator(), &name));
    session.outputs.push_back(take_name(name));
  }
  OrtTypeInfo* type = nullptr;
  check(ort().SessionGetInputTypeInfo(from, 0, &type));
  const Owned<OrtTypeInfo> owned(type);
  const OrtTensorTypeAndShapeInfo* tensor = nullptr;  // part of `type`
  check(ort().CastTypeInfoToTensorInfo(type, &tensor));
  bool image = tensor;
  if (image) {
    const TensorInfo info(tensor);
    image = info.is_float() && info.shape.size() == 4 && (info.shape[1] == 3 || info.shape[1] < 0);
    for (const std::int64_t side : info.shape) image = image && side != 0 && side <= INT_MAX;
    if (image) {
      const auto side = [&](std::size_t d) { return info.shape[d] < 0 ? 0 : static_cast<int>(info.shape[d]); };
      session.type = info.type;
      session.shape = {side(0), side(2), side(3)};
    }
  }
  if (!image) throw ModelError("model \"" + spec.path + "\": its input is not float (batch, 3, height, width)");
}

std::unique_ptr<Engine> load(const ModelSpec& spec, const Options& options) {
  if (!options.precision.empty() && options.precision != "fp32") {
    throw std::invalid_argument("precision \"" + options.precision +
                                "\": onnxruntime computes in what the file holds; export it so");
  }
  const int gpu = parse_device(options.device);
  if (options.profile) throw EngineError("engine \"onnxruntime\" times layers from Python only");
  if (!runtime().why.empty()) throw EngineError(runtime().why);
  OrtSessionOptions* raw = nullptr;
  check(ort().CreateSessionOptions(&raw));
  const Owned<OrtSessionOptions> settings(raw);
  if (options.threads) check(ort().SetIntraOpNumThreads(raw, *options.threads));
  if (gpu >= 0) {
    OrtCUDAProviderOptions cuda;
    cuda.device_id = gpu;
    check(ort().SessionOptionsAppendExecutionProvider_CUDA(raw, &cuda), "device \"" + options.device + "\"");
  }
  auto session = std::make_shared<Session>();
  session->device = gpu < 0 ? "cpu" : "cuda:" + std::to_string(gpu);
  OrtSession* opened = nullptr;
  OrtStatus* status = ort().CreateSession(runtime().environment, spec.graph.c_str(), raw, &opened);
  const std::string what = "model \"" + spec.path + "\": onnxruntime cannot load it";
  if (gpu >= 0) check(status, what + " on " + session->device);
  check<ModelError>(ort(), status, what);
  session->session.reset(opened);
  read_inputs(spec, *session);
  return std::make_unique<OnnxRuntimeEngine>(std::move(session));
}

}  // namespace

EngineEntry onnxruntime_engine() {
  EngineEntry entry;
  entry.name = "onnxruntime";
  entry.priority = 40;
  entry.unavailable = [] { return runtime().why; };
  entry.accepts = [](const ModelSpec& spec) { return spec.format == Format::onnx; };
  entry.load = load;
  entry.devices = [] {
    char** names = nullptr;
    int count = 0;
    check(ort().GetAvailableProviders(&names, &count));
    std::vector<std::string> out = {"cpu"};
    for (int i = 0; i < count; ++i) {
      if (std::string(names[i]) == "CUDAExecutionProvider") out.push_back("cuda");
    }
    check(ort().ReleaseAvailableProviders(names, count));
    return out;
  };
  entry.precisions = [] { return std::vector<std::string>{"fp32"}; };
  return entry;
}

}  // namespace yolort
