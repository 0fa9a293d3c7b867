// OpenVINO. The caller writes into the tensor that the infer request reads, and reads the request's own output tensors:
// nothing is copied.
#include "core/engine.h"

#include <algorithm>
#include <cctype>
#include <climits>
#include <map>
#include <stdexcept>
#include <utility>

#include "engines/openvino/api.h"
#include "engines/openvino/compile.h"
#include "engines/openvino/devices.h"
#include "platform/device_name.h"
#include "platform/processor.h"
#include "platform/warning.h"

namespace yolort {
namespace {

namespace ov = openvino;

/// The compiled model, shared by clones.
struct Compiled {
  ov::Owned<ov::CompiledModel> model;
  InputShape shape;
  Type type = Type::f32;
  std::size_t outputs = 0;
  std::string device, precision;
  bool profile = false, cut = false;
};

Type type_of(ov::ElementType type, const std::string& what) {
  if (type == ov::api().f32) return Type::f32;
  if (type == ov::api().f16) return Type::f16;
  throw ModelError(what + " is neither float32 nor float16");
}

class OpenvinoEngine final : public Engine {
 public:
  explicit OpenvinoEngine(std::shared_ptr<const Compiled> compiled) : compiled_(std::move(compiled)) {
    ov::InferRequest* request = nullptr;
    ov::check(ov::api().compiled_model_create_infer_request(compiled_->model.get(), &request));
    request_.reset(request);
    outputs_.resize(compiled_->outputs);
    tensors_.resize(compiled_->outputs);
  }

  InputShape input_shape() const override { return compiled_->shape; }
  bool is_cut() const override { return compiled_->cut; }

  Tensor input(int batch, int height, int width) override {
    const std::vector<int> shape = {batch, compiled_->shape.channels, height, width};
    if (shape != lent_.shape) {
      const bool half = compiled_->type == Type::f16;
      ov::Owned<ov::Tensor> tensor = ov::make_tensor(half ? ov::api().f16 : ov::api().f32, shape);
      ov::check(ov::api().infer_request_set_input_tensor_by_index(request_.get(), 0, tensor.get()),
                "engine \"openvino\" refused an input of " + std::to_string(batch) + " x " + std::to_string(shape[1]) +
                    " x " + std::to_string(height) + " x " + std::to_string(width));
      input_ = std::move(tensor);
      lent_ = {ov::data_of(*input_), shape, static_cast<std::ptrdiff_t>(height) * width, compiled_->type};
    }
    return lent_;
  }

  const std::vector<Tensor>& run() override {
    ov::check(ov::api().infer_request_infer(request_.get()), "engine \"openvino\" failed to run the model");
    if (compiled_->profile) add_layer_times();
    for (std::size_t i = 0; i < outputs_.size(); ++i) {
      ov::Tensor* output = nullptr;
      ov::check(ov::api().infer_request_get_output_tensor_by_index(request_.get(), i, &output));
      outputs_[i].reset(output);
      read_output(*output, tensors_[i]);
    }
    return tensors_;
  }

  /// Layers that OpenVINO optimized away are left out.
  std::vector<LayerTime> layer_times() override {
    std::vector<LayerTime> out;
    for (const Layer& layer : layers_) {
      if (layer.us) out.push_back({layer.name, layer.type, static_cast<double>(layer.us) / 1e3 / runs_});
    }
    layers_.clear();
    places_.clear();
    runs_ = 0;
    return out;
  }

  std::unique_ptr<Engine> clone() const override { return std::make_unique<OpenvinoEngine>(compiled_); }
  std::string device() const override { return compiled_->device; }
  std::string precision() const override { return compiled_->precision; }

 private:
  struct Layer {
    std::string name, type;
    std::int64_t us = 0;
  };

  static void read_output(const ov::Tensor& tensor, Tensor& out) {
    ov::ElementType type = 0;
    ov::check(ov::api().tensor_get_element_type(&tensor, &type));
    out.type = type_of(type, "an output");
    ov::Shape shape{};
    ov::check(ov::api().tensor_get_shape(&tensor, &shape));
    out.shape.assign(shape.sides, shape.sides + shape.rank);
    ov::api().shape_free(&shape);
    if (out.shape.size() < 2 || out.shape.size() > 4) {
      throw ModelError("an output has " + std::to_string(out.shape.size()) + " dimension(s), expected 2 to 4");
    }
    out.data = ov::data_of(tensor);
    out.channel_stride = 1;
    for (std::size_t d = 2; d < out.shape.size(); ++d) out.channel_stride *= out.shape[d];
  }

  void add_layer_times() {
    ov::LayerProfileList list{};
    ov::check(ov::api().infer_request_get_profiling_info(request_.get(), &list));
    for (std::size_t i = 0; i < list.size; ++i) {
      const ov::LayerProfile& layer = list.layers[i];
      std::string type = std::string(layer.type) + " " + layer.execution;
      const auto [place, added] = places_.try_emplace({layer.name, type}, layers_.size());
      if (added) layers_.push_back({layer.name, std::move(type)});
      layers_[place->second].us += layer.real_us;
    }
    ov::api().profiling_info_list_free(&list);
    ++runs_;
  }

  std::shared_ptr<const Compiled> compiled_;  // first: it is released last
  ov::Owned<ov::InferRequest> request_;
  ov::Owned<ov::Tensor> input_;
  Tensor lent_;
  std::vector<ov::Owned<ov::Tensor>> outputs_;
  std::vector<Tensor> tensors_;
  std::vector<Layer> layers_;  ///< in order of execution
  std::map<std::pair<std::string, std::string>, std::size_t> places_;
  int runs_ = 0;
};

/// Throws ModelError if the model does not take one image.
void read_ports(const ModelSpec& spec, Compiled& compiled) {
  std::size_t inputs = 0;
  ov::check(ov::api().compiled_model_inputs_size(compiled.model.get(), &inputs));
  ov::check(ov::api().compiled_model_outputs_size(compiled.model.get(), &compiled.outputs));
  if (inputs != 1) {
    throw ModelError("model \"" + spec.path + "\" has " + std::to_string(inputs) + " inputs, expected one image");
  }
  ov::Port* port = nullptr;
  ov::check(ov::api().compiled_model_input_by_index(compiled.model.get(), 0, &port));
  const ov::Owned<ov::Port> owned(port);
  ov::ElementType type = 0;
  ov::check(ov::api().port_get_element_type(port, &type));
  ov::PartialShape shape{};
  ov::check(ov::api().port_get_partial_shape(port, &shape));
  std::vector<ov::Dimension> sides;
  if (shape.rank.fixed()) sides.assign(shape.sides, shape.sides + shape.rank.max);
  ov::api().partial_shape_free(&shape);
  bool image = (type == ov::api().f32 || type == ov::api().f16) && sides.size() == 4;
  image = image && (!sides[1].fixed() || sides[1].max <= max_channels);
  for (const ov::Dimension& side : sides) image = image && (!side.fixed() || (side.max > 0 && side.max <= INT_MAX));
  if (!image) throw ModelError("model \"" + spec.path + "\": its input is not float (batch, channels, height, width)");
  compiled.type = type_of(type, "the input");
  const auto fixed = [&](std::size_t d) { return sides[d].fixed() ? static_cast<int>(sides[d].max) : 0; };
  compiled.shape = {fixed(0), fixed(2), fixed(3)};
  compiled.shape.channels = channels_of(spec, fixed(1));
  if (sides[0].max > 0) {  // a dynamic batch may have a limit
    compiled.shape.max_batch = static_cast<int>(std::min<std::int64_t>(sides[0].max, compiled.shape.max_batch));
  }
}

std::unique_ptr<Engine> load(const ModelSpec& spec, const Options& options) {
  if (!ov::runtime().why.empty()) throw EngineError(ov::runtime().why);
  const std::string device = ov::device_name(options.device, ov::available_devices);
  const ov::Source source(spec);
  const std::vector<std::string> maps = raw_maps(spec, source.graph);
  const bool raw = spec.layout.head == Head::raw || !maps.empty();
  Options asked = options;
  if (asked.precision.empty()) asked.precision = device == "CPU" && raw && has_bf16_arithmetic() ? "bf16" : "fp32";
  std::vector<std::string> settings = ov::settings_for(asked, device, available_cores());
  if (device == "CPU" && rounds_activations_to_int8(source.graph)) {
    warn(spec.path + ": OpenVINO computes signed INT8 wrongly on the CPU, so the model runs in float");
    settings.insert(settings.end(), {"LP_TRANSFORMS_MODE", "NO"});
  }
  auto compiled = std::make_shared<Compiled>();
  compiled->model = ov::compile(source, maps, device, settings, !options.profile);
  compiled->profile = options.profile;
  compiled->cut = !maps.empty();
  read_ports(spec, *compiled);
  for (const char c : device) compiled->device += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  compiled->precision = ov::precision_that_runs(
      asked.precision, ov::model_property(*compiled->model, "EXECUTION_DEVICES"),
      ov::model_property(*compiled->model, "INFERENCE_PRECISION_HINT"),
      [](const std::string& name) { return ov::device_property(name, "OPTIMIZATION_CAPABILITIES"); });
  return std::make_unique<OpenvinoEngine>(std::move(compiled));
}

}  // namespace

EngineEntry openvino_engine() {
  EngineEntry entry;
  entry.name = "openvino";
  entry.priority = 30;
  entry.unavailable = [] { return ov::runtime().why; };
  entry.accepts = [](const ModelSpec& spec) {
    return spec.format == Format::onnx || spec.format == Format::openvino || spec.format == Format::tflite;
  };
  entry.load = load;
  entry.reads_memory = true;
  entry.library = [] { return EngineLibrary{ov::runtime().version, ov::runtime().path}; };
  entry.devices = [] {
    std::vector<std::string> out;
    for (const std::string& device : ov::available_devices()) {
      out.push_back(device + " " + ov::device_property(device, "FULL_DEVICE_NAME"));
    }
    return out;
  };
  entry.precisions = [](const std::string& device) {
    const std::string name = ov::device_name(device, ov::available_devices);
    std::vector<std::string> out = ov::precisions_in(ov::device_property(name, "OPTIMIZATION_CAPABILITIES"));
    const bool is_slower = name == "CPU" && !has_bf16_arithmetic();
    if (is_slower) out.erase(std::remove(out.begin(), out.end(), "bf16"), out.end());
    return out;
  };
  return entry;
}

}  // namespace yolort
