// ONNX Runtime through its C API. Input and outputs are bound to persistent buffers, so that a run on the CPU copies
// and allocates nothing.
#include <cstring>
#include <fstream>
#include <string_view>
#include <utility>

#include "engines/onnxruntime/loaded_model.h"

namespace yolort {
namespace ort {
namespace {

/// The input: memory that a CUDA device reads directly if the model runs on one, otherwise ordinary memory.
class InputMemory {
 public:
  explicit InputMemory(const LoadedModel& model) {
    const Placement& at = model.placement;
    const std::string_view kind = at.provider ? at.provider->kind : "";
    if (kind == "cuda" || kind == "tensorrt") pin(model);
    if (allocator_) return;
    check(api().create_cpu_memory_info(AllocatorType::device, MemoryType::standard, Into(info_)));
  }
  ~InputMemory() { release(); }
  InputMemory(const InputMemory&) = delete;
  InputMemory& operator=(const InputMemory&) = delete;

  const MemoryInfo* info() const { return info_.get(); }
  void* data() const { return data_; }

  /// Zero-filled. Releases the previous buffer.
  void resize(std::size_t bytes) {
    release();
    void* data = nullptr;
    check(api().allocate(allocator(), bytes, &data), "engine \"onnxruntime\": memory for the input");
    data_ = data;
    std::memset(data_, 0, bytes);
  }

 private:
  /// Page-locked memory, or ordinary memory if that is unavailable.
  void pin(const LoadedModel& model) {
    const int index = std::stoi(model.placement.place);
    Status* status =
        api().create_memory_info("CudaPinned", AllocatorType::device, index, MemoryType::cpu_output, Into(info_));
    if (!status) status = api().create_allocator(model.session.get(), info_.get(), Into(allocator_));
    if (status) api().release_status(status);
  }
  Allocator* allocator() const { return allocator_ ? allocator_.get() : default_allocator(); }
  void release() {
    if (data_) api().release_status(api().free(allocator(), std::exchange(data_, nullptr)));
  }

  Owned<MemoryInfo> info_;
  Owned<Allocator> allocator_;  ///< null: the default one
  void* data_ = nullptr;
};

class OnnxRuntimeEngine final : public Engine {
 public:
  /// `profiled`: this instance reports the layer times, which cover all clones.
  OnnxRuntimeEngine(std::shared_ptr<const LoadedModel> model, bool profiled)
      : model_(std::move(model)), profiled_(profiled), input_(*model_) {
    check(api().create_cpu_memory_info(AllocatorType::device, MemoryType::standard, Into(output_memory_)));
  }

  InputShape input_shape() const override { return model_->shape; }
  bool is_cut() const override { return model_->cut; }

  Tensor input(int batch, int height, int width) override {
    const bool half = model_->element == Element::f16;
    const std::vector<int> shape = {batch, model_->shape.channels, height, width};
    if (shape != shape_) bind(shape, half ? 2 : 4);
    return {input_.data(), shape, static_cast<std::ptrdiff_t>(height) * width, half ? Type::f16 : Type::f32};
  }

  const std::vector<Tensor>& run() override {
    const std::string what = "engine \"onnxruntime\" failed to run the model";
    if (model_->placement.provider) {  // binding copies the input to the device
      check(api().bind_input(binding_.get(), model_->input.c_str(), input_value_.get()), what);
      check(api().synchronize_inputs(binding_.get()), what);
    }
    check(api().run_with_binding(model_->session.get(), nullptr, binding_.get()), what);
    if (model_->placement.provider) check(api().synchronize_outputs(binding_.get()), what);
    if (tensors_.empty() || rows_vary_) keep_outputs();
    return tensors_;
  }

  std::vector<LayerTime> layer_times() override {
    if (!std::exchange(profiled_, false)) return {};
    char* name = nullptr;
    check(api().end_profiling(model_->session.get(), default_allocator(), &name));
    std::ifstream trace(name);
    check(api().free(default_allocator(), name));
    return mean_times(trace);
  }

  std::unique_ptr<Engine> clone() const override { return std::make_unique<OnnxRuntimeEngine>(model_, false); }
  std::string device() const override { return model_->placement.device(); }
  std::string precision() const override { return {}; }

 private:
  void bind(const std::vector<int>& shape, std::size_t element) {
    tensors_.clear();
    outputs_.clear();
    binding_.reset();
    input_value_.reset();
    shape_.clear();
    std::size_t bytes = element;
    for (const int side : shape) bytes *= static_cast<std::size_t>(side);
    input_.resize(bytes);
    const std::vector<std::int64_t> sides(shape.begin(), shape.end());
    check(api().create_tensor(input_.info(), input_.data(), bytes, sides.data(), sides.size(), model_->element,
                              Into(input_value_)));
    check(api().create_binding(model_->session.get(), Into(binding_)));
    check(api().bind_input(binding_.get(), model_->input.c_str(), input_value_.get()));
    for (const std::string& output : model_->outputs) {
      check(api().bind_output_to_device(binding_.get(), output.c_str(), output_memory_.get()));
    }
    shape_ = shape;
    rows_vary_ = false;
  }

  /// The first run determines the shapes; later runs write into the tensors it created, unless they may have another
  /// shape in the next run (Head::indexed).
  void keep_outputs() {
    Value** values = nullptr;
    std::size_t count = 0;
    check(api().bound_outputs(binding_.get(), default_allocator(), &values, &count));
    outputs_.clear();
    for (std::size_t i = 0; i < count; ++i) outputs_.emplace_back(values[i]);
    check(api().free(default_allocator(), values));
    api().clear_bound_outputs(binding_.get());
    std::vector<Tensor> tensors;
    for (std::size_t i = 0; i < count; ++i) {
      tensors.push_back(as_tensor(outputs_[i].get()));
      rows_vary_ = rows_vary_ || (tensors[i].shape.size() == 2 && tensors[i].shape[1] == 7);
    }
    for (std::size_t i = 0; i < count; ++i) {
      const char* name = model_->outputs[i].c_str();
      check(rows_vary_ ? api().bind_output_to_device(binding_.get(), name, output_memory_.get())
                       : api().bind_output(binding_.get(), name, outputs_[i].get()));
    }
    tensors_ = std::move(tensors);
  }

  Tensor as_tensor(Value* value) const {
    Owned<TensorInfo> info;
    check(api().tensor_info(value, Into(info)));
    const TensorType type(info.get());
    const std::size_t dimensions = type.shape.size();
    if (!type.is_float() || dimensions < 2 || dimensions > 4) {
      throw ModelError("model \"" + model_->path + "\": an output is not float32 or float16 of 2 to 4 dimensions");
    }
    Tensor out;
    check(api().tensor_data(value, &out.data));
    out.type = type.element == Element::f32 ? Type::f32 : Type::f16;
    out.shape.assign(type.shape.begin(), type.shape.end());
    out.channel_stride = 1;
    for (std::size_t d = 2; d < dimensions; ++d) out.channel_stride *= out.shape[d];
    return out;
  }

  std::shared_ptr<const LoadedModel> model_;  // first: it is released last
  bool profiled_;
  InputMemory input_;
  Owned<MemoryInfo> output_memory_;
  std::vector<int> shape_;
  Owned<Value> input_value_;
  Owned<IoBinding> binding_;
  bool rows_vary_ = false;
  std::vector<Owned<Value>> outputs_;
  std::vector<Tensor> tensors_;
};

std::unique_ptr<Engine> load(const ModelSpec& spec, const Options& options) {
  if (!runtime().api) throw EngineError(runtime().why);
  return std::make_unique<OnnxRuntimeEngine>(load_model(spec, options), options.profile);
}

}  // namespace
}  // namespace ort

EngineEntry onnxruntime_engine() {
  EngineEntry entry;
  entry.name = "onnxruntime";
  entry.priority = 40;
  entry.unavailable = [] { return ort::runtime().why; };
  entry.accepts = [](const ModelSpec& spec) { return spec.format == Format::onnx; };
  entry.load = ort::load;
  entry.reads_memory = true;
  entry.takes_options = true;
  entry.computes_as_written = true;
  entry.library = [] { return EngineLibrary{ort::runtime().version, ort::runtime().path}; };
  entry.devices = [] { return ort::provider_devices(ort::api()); };
  entry.precisions = [](const std::string&) { return std::vector<std::string>{"fp32"}; };
  return entry;
}

}  // namespace yolort
