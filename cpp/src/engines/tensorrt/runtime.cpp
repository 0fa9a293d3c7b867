// Runs a TensorRT plan; compiled once for each major version.
#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "cuda/driver.h"
#include "cuda/pipeline.h"
#include "engines/tensorrt/engine.h"
#include "engines/tensorrt/namespace.h"

namespace yolort {
namespace {

class Profiler final : public trt::IProfiler {
 public:
  void reportLayerTime(const char* layer, float ms) noexcept override {
    try {
      const auto [at, added] = index_.emplace(layer, times_.size());
      if (added) times_.push_back({layer, "", 0});
      times_[at->second].ms += ms;
    } catch (...) {
    }
  }
  std::vector<LayerTime> take(int runs) {
    index_.clear();
    for (LayerTime& time : times_) time.ms /= std::max(runs, 1);
    return std::exchange(times_, {});
  }

 private:
  std::map<std::string, std::size_t> index_;
  std::vector<LayerTime> times_;
};

struct Port {
  std::string name;
  Type type;
};

/// State shared by clones; destroyed from the last member to the first.
struct Plan {
  std::shared_ptr<const CudaDevice> device;
  std::shared_ptr<const CudaKernels> kernels;  ///< null: pre- and postprocessing are left to the CPU
  Logger logger;
  std::unique_ptr<trt::IRuntime> runtime;
  std::unique_ptr<trt::ICudaEngine> engine;
  Port input;
  std::vector<Port> outputs;
  InputShape shape;
  std::string path;
  bool profile = false;

  explicit Plan(std::shared_ptr<const CudaDevice> on) : device(std::move(on)) {}
  ~Plan() {
    const CudaDevice::ContextGuard guard(*device);
    engine.reset();
    runtime.reset();
  }
};

class TensorrtEngine final : public Engine {
 public:
  explicit TensorrtEngine(std::shared_ptr<Plan> plan)
      : plan_(std::move(plan)),
        host_input_(plan_->device, CudaBuffer::Place::host),
        input_(plan_->device, CudaBuffer::Place::device) {
    const CudaDevice::ContextGuard guard(*plan_->device);
    context_.reset(plan_->engine->createExecutionContext());
    if (!context_) fail("cannot create an execution context, usually because GPU memory is short");
    if (plan_->profile) context_->setProfiler(&profiler_);
    const Cuda& cuda = Cuda::get();
    cuda.check(cuda.stream_create(&stream_, CU_STREAM_NON_BLOCKING), "creating a stream");
    if (plan_->kernels) pipeline_.emplace(plan_->device, plan_->kernels, stream_);
  }

  ~TensorrtEngine() override {
    const CudaDevice::ContextGuard guard(*plan_->device);
    const Cuda& cuda = Cuda::get();
    if (stream_) cuda.stream_synchronize(stream_);
    pipeline_.reset();
    context_.reset();
    if (stream_) cuda.stream_destroy(stream_);
  }

  InputShape input_shape() const override { return plan_->shape; }

  Tensor input(int batch, int height, int width) override {
    const std::vector<int> shape = {batch, plan_->shape.channels, height, width};
    if (shape != shape_) {
      prepare(shape);
      shape_ = shape;
    }
    return {host_input_.data(), shape_, static_cast<std::ptrdiff_t>(height) * width, plan_->input.type};
  }

  bool detect(const Batch& batch, std::vector<Detections>& out, Speed& speed) override {
    if (!pipeline_) return false;
    const int count = plan_->shape.batch ? plan_->shape.batch : static_cast<int>(batch.images.size());
    Tensor input = this->input(count, batch.height, batch.width);
    if (!CudaPipeline::takes(batch, tensors_)) return false;
    input.data = input_.data();
    std::vector<Tensor> outputs = tensors_;
    for (std::size_t i = 0; i < outputs.size(); ++i) outputs[i].data = outputs_[i].data();
    pipeline_->detect(batch, input, outputs, [this] { enqueue(); }, out, speed);
    ++runs_;
    return true;
  }

  const std::vector<Tensor>& run() override {
    const CudaDevice::ContextGuard guard(*plan_->device);
    const Cuda& cuda = Cuda::get();
    cuda.check(cuda.to_device(input_.address(), host_input_.data(), input_bytes_, stream_), "copying the input");
    enqueue();
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      cuda.check(cuda.to_host(host_outputs_[i].data(), outputs_[i].address(), output_bytes_[i], stream_),
                 "copying an output");
    }
    cuda.check(cuda.stream_synchronize(stream_), "running the model");
    ++runs_;
    return tensors_;
  }

  std::unique_ptr<Engine> clone() const override { return std::make_unique<TensorrtEngine>(plan_); }
  std::vector<LayerTime> layer_times() override { return profiler_.take(std::exchange(runs_, 0)); }
  std::string device() const override {
    return "cuda:" + std::to_string(plan_->device->index()) + " " + plan_->device->description() +
           (pipeline_ ? "" : ", letterbox and decoding on the CPU");
  }
  std::string precision() const override { return {}; }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw EngineError("engine \"tensorrt\": " + what + plan_->logger.take());
  }

  void enqueue() {
    // The CUDA runtime's streams are the driver's.
    if (!context_->enqueueV3(reinterpret_cast<cudaStream_t>(stream_))) fail("it failed to run the model");
  }

  static std::size_t bytes_of(const std::vector<int>& shape, Type type) {
    std::size_t count = type == Type::f32 ? 4 : 2;
    for (const int side : shape) count *= static_cast<std::size_t>(side);
    return count;
  }

  /// Sets buffers and addresses for this input shape.
  void prepare(const std::vector<int>& shape) {
    shape_.clear();
    if (pipeline_) pipeline_->forget_graph();
    const CudaDevice::ContextGuard guard(*plan_->device);
    const Cuda& cuda = Cuda::get();
    trt::Dims dims{};
    dims.nbDims = 4;
    std::copy(shape.begin(), shape.end(), dims.d);
    if (!context_->setInputShape(plan_->input.name.c_str(), dims)) {
      fail("the engine was not built for an input of " + std::to_string(shape[0]) + " x 3 x " +
           std::to_string(shape[2]) + " x " + std::to_string(shape[3]));
    }
    input_bytes_ = bytes_of(shape, plan_->input.type);
    host_input_.reserve(input_bytes_);
    input_.reserve(input_bytes_);
    std::fill_n(static_cast<unsigned char*>(host_input_.data()), input_bytes_, static_cast<unsigned char>(0));
    bool placed = context_->setTensorAddress(plan_->input.name.c_str(), input_.data());
    tensors_.clear();
    output_bytes_.clear();
    for (std::size_t i = 0; i < plan_->outputs.size(); ++i) {
      const Port& port = plan_->outputs[i];
      const trt::Dims out = context_->getTensorShape(port.name.c_str());
      std::vector<int> sides;
      std::ptrdiff_t cells = 1;
      for (int d = 0; d < out.nbDims; ++d) {
        if (out.d[d] < 1 || out.d[d] > INT32_MAX) fail("output '" + port.name + "' has no fixed shape");
        sides.push_back(static_cast<int>(out.d[d]));
        if (d > 1) cells *= static_cast<std::ptrdiff_t>(out.d[d]);
      }
      output_bytes_.push_back(bytes_of(sides, port.type));
      if (outputs_.size() == i) {
        outputs_.emplace_back(plan_->device, CudaBuffer::Place::device);
        host_outputs_.emplace_back(plan_->device, CudaBuffer::Place::host);
      }
      outputs_[i].reserve(output_bytes_[i]);
      host_outputs_[i].reserve(output_bytes_[i]);
      placed = context_->setTensorAddress(port.name.c_str(), outputs_[i].data()) && placed;
      tensors_.push_back({host_outputs_[i].data(), sides, cells, port.type});
    }
    if (!placed) fail("it refused the buffers");
    cuda.check(cuda.stream_synchronize(stream_), "preparing");
  }

  std::shared_ptr<Plan> plan_;  // first: everything else is on its device
  std::unique_ptr<trt::IExecutionContext> context_;
  Profiler profiler_;
  int runs_ = 0;
  CUstream stream_ = nullptr;
  std::vector<int> shape_;
  CudaBuffer host_input_, input_;
  std::vector<CudaBuffer> host_outputs_, outputs_;
  std::size_t input_bytes_ = 0;
  std::vector<std::size_t> output_bytes_;
  std::vector<Tensor> tensors_;
  std::optional<CudaPipeline> pipeline_;
};

Type type_of(const Plan& plan, const std::string& name) {
  switch (plan.engine->getTensorDataType(name.c_str())) {
    case trt::DataType::kFLOAT: return Type::f32;
    case trt::DataType::kHALF: return Type::f16;
    default: break;
  }
  throw ModelError("model \"" + plan.path + "\": '" + name +
                   "' is neither FP32 nor FP16; export it without NMS plugins, and build with FP32 or FP16 inputs and "
                   "outputs");
}

void read_ports(Plan& plan, const ModelSpec& spec) {
  const trt::ICudaEngine& engine = *plan.engine;
  int inputs = 0;
  for (int i = 0; i < engine.getNbIOTensors(); ++i) {
    const std::string name = engine.getIOTensorName(i);
    const trt::Dims shape = engine.getTensorShape(name.c_str());
    if (engine.getTensorIOMode(name.c_str()) == trt::TensorIOMode::kOUTPUT) {
      if (shape.nbDims < 2 || shape.nbDims > 4) {
        throw ModelError("model \"" + plan.path + "\": output '" + name + "' has " + std::to_string(shape.nbDims) +
                         " dimensions, expected 2 to 4");
      }
      plan.outputs.push_back({name, type_of(plan, name)});
      continue;
    }
    ++inputs;
    if (shape.nbDims != 4 || shape.d[1] > max_channels) {
      throw ModelError("model \"" + plan.path + "\": its input is not an image, batch x channels x height x width");
    }
    plan.input = {name, type_of(plan, name)};
    const auto fixed = [&](int d) { return shape.d[d] > 0 ? static_cast<int>(shape.d[d]) : 0; };
    plan.shape = {fixed(0), fixed(2), fixed(3)};
    plan.shape.channels = channels_of(spec, fixed(1));
    if (!plan.shape.batch) {
      const trt::Dims max = engine.getProfileShape(name.c_str(), 0, trt::OptProfileSelector::kMAX);
      if (max.nbDims == 4 && max.d[0] > 0) {
        plan.shape.max_batch = static_cast<int>(std::min<std::int64_t>(max.d[0], plan.shape.max_batch));
      }
    }
  }
  if (inputs != 1 || plan.outputs.empty()) {
    throw ModelError("model \"" + plan.path + "\" has " + std::to_string(inputs) + " input(s) and " +
                     std::to_string(plan.outputs.size()) +
                     " output(s), expected one input (an image) and one or more outputs");
  }
}

}  // namespace

std::unique_ptr<Engine> YOLORT_JOIN(load_tensorrt_,
                                    YOLORT_TENSORRT_MAJOR)(const TensorrtLibrary& library, const ModelSpec& spec,
                                                           const Options& options, const void* data, std::size_t size) {
  auto plan = std::make_shared<Plan>(std::make_shared<const CudaDevice>(parse_cuda_device(options.device)));
  plan->path = spec.path;
  plan->profile = options.profile;
  const CudaDevice::ContextGuard guard(*plan->device);
  plan->runtime.reset(static_cast<trt::IRuntime*>(library.create_runtime(&plan->logger, library.number)));
  if (plan->runtime) plan->engine.reset(plan->runtime->deserializeCudaEngine(data, size));
  if (!plan->engine) {
    const std::string built = plan_version(static_cast<const unsigned char*>(data), size);
    throw ModelError("model \"" + spec.path + "\" was built by TensorRT " +
                     (built.empty() ? "of unknown version" : built) + "; " + library.name + " here is " +
                     library.version + ", on " + plan->device->description() +
                     ", and cannot load it. An engine runs on the version and kind of GPU that it was built with: "
                     "build it again here, or install that version" +
                     plan->logger.take());
  }
  read_ports(*plan, spec);
  if (!plan->profile) plan->kernels = CudaKernels::load(plan->device);  // layers inside a CUDA graph cannot be timed
  return std::make_unique<TensorrtEngine>(std::move(plan));
}

}  // namespace yolort
