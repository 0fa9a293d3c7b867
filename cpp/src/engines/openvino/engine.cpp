// OpenVINO. The input is lent from a tensor that the infer request reads in place, and the outputs are its own tensors:
// no copies.
#include "core/engine.h"

#include <algorithm>
#include <cctype>
#include <climits>
#include <map>
#include <optional>
#include <stdexcept>
#include <utility>

#include "engines/openvino/api.h"
#include "engines/openvino/devices.h"
#include "engines/openvino/model_cache.h"
#include "engines/openvino/signed_int8.h"
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
  bool profile = false;
};

Type type_of(ov::ElementType type, const std::string& what) {
  if (type == ov::api().f32) return Type::f32;
  if (type == ov::api().f16) return Type::f16;
  throw ModelError(what + " is no float32 or float16");
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

  Tensor input(int batch, int height, int width) override {
    const std::vector<int> shape = {batch, 3, height, width};
    if (shape != lent_.shape) {
      const bool half = compiled_->type == Type::f16;
      ov::Owned<ov::Tensor> tensor = ov::make_tensor(half ? ov::api().f16 : ov::api().f32, shape);
      ov::check(ov::api().infer_request_set_input_tensor_by_index(request_.get(), 0, tensor.get()),
                "engine \"openvino\" refused an input of " + std::to_string(batch) + " x 3 x " +
                    std::to_string(height) + " x " + std::to_string(width));
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
    if (out.shape.size() < 3 || out.shape.size() > 4) {
      throw ModelError("an output has " + std::to_string(out.shape.size()) + " dimension(s), expected 3 or 4");
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
  image = image && (!sides[1].fixed() || sides[1].max == 3);
  for (const ov::Dimension& side : sides) image = image && (!side.fixed() || (side.max > 0 && side.max <= INT_MAX));
  if (!image) throw ModelError("model \"" + spec.path + "\": its input is not float (batch, 3, height, width)");
  compiled.type = type_of(type, "the input");
  const auto fixed = [&](std::size_t d) { return sides[d].fixed() ? static_cast<int>(sides[d].max) : 0; };
  compiled.shape = {fixed(0), fixed(2), fixed(3)};
  if (sides[0].max > 0) {  // a dynamic batch may have a limit
    compiled.shape.max_batch = static_cast<int>(std::min<std::int64_t>(sides[0].max, compiled.shape.max_batch));
  }
}

/// The file as it is now, by what changes if it is written again.
std::string identity_of(const std::filesystem::path& file) {
  std::error_code error;
  if (file.empty()) return {};
  return std::filesystem::absolute(file, error).string() + "\n" +
         std::to_string(std::filesystem::file_size(file, error)) + "\n" +
         std::to_string(std::filesystem::last_write_time(file, error).time_since_epoch().count()) + "\n";
}

constexpr std::size_t max_settings = 14;  ///< keys and values

template <class Call, std::size_t... i>
ov::Status with_pointers(const char* const* settings, Call call, std::index_sequence<i...>) {
  return call(settings[i]...);
}

/// Calls a variadic function of OpenVINO with the settings, and null for those that are not there: it reads as many as
/// it is told.
template <class Call>
ov::Status with_settings(const std::vector<std::string>& settings, Call call) {
  const char* all[max_settings] = {};
  if (settings.size() > max_settings) throw std::logic_error("more settings than are handed on");
  for (std::size_t i = 0; i < settings.size(); ++i) all[i] = settings[i].c_str();
  return with_pointers(all, call, std::make_index_sequence<max_settings>());
}

ov::CompiledModel* compile_file(const ModelSpec& spec, const std::string& device, std::vector<std::string> settings,
                                bool keep, ov::Status& status) {
  std::string identity =
      ov::runtime().version + "\n" + device + "\n" + identity_of(spec.graph) + identity_of(spec.weights);
  for (const std::string& setting : settings) identity += setting + "\n";
  std::optional<ov::ModelCache> cache;
  if (keep) cache.emplace(identity);
  if (cache && !cache->folder().empty()) settings.insert(settings.end(), {"CACHE_DIR", cache->folder().string()});

  ov::CompiledModel* compiled = nullptr;
  status = with_settings(settings, [&](auto... pairs) {
    return ov::api().core_compile_model_from_file(ov::runtime().core, spec.graph.c_str(), device.c_str(),
                                                  settings.size(), &compiled, pairs...);
  });
  return compiled;
}

/// Nothing of it is kept in a file: it may have been encrypted.
ov::CompiledModel* compile_contents(const ModelSpec& spec, const std::string& device,
                                    const std::vector<std::string>& settings, ov::Status& status) {
  ov::Model* read = nullptr;
  status = ov::api().core_read_model_from_memory_buffer(ov::runtime().core, spec.contents.data(), spec.contents.size(),
                                                        nullptr, &read);
  if (status != 0) return nullptr;
  const ov::Owned<ov::Model> model(read);
  ov::CompiledModel* compiled = nullptr;
  status = with_settings(settings, [&](auto... pairs) {
    return ov::api().core_compile_model(ov::runtime().core, model.get(), device.c_str(), settings.size(), &compiled,
                                        pairs...);
  });
  return compiled;
}

ov::Owned<ov::CompiledModel> compile(const ModelSpec& spec, const std::string& device,
                                     const std::vector<std::string>& settings, bool keep) {
  ov::Status status = 0;
  ov::Owned<ov::CompiledModel> out(spec.contents.empty() ? compile_file(spec, device, settings, keep, status)
                                                         : compile_contents(spec, device, settings, status));
  ov::check<ModelError>(status, "model \"" + spec.path + "\": OpenVINO cannot load it");
  return out;
}

std::unique_ptr<Engine> load(const ModelSpec& spec, const Options& options) {
  if (!ov::runtime().why.empty()) throw EngineError(ov::runtime().why);
  const std::string device = ov::device_name(options.device, ov::available_devices);
  std::vector<std::string> settings = ov::settings_for(options, device, available_cores());
  if (device == "CPU" && ov::rounds_to_signed(spec)) {
    warn(spec.path + ": its INT8 is signed, which OpenVINO computes wrongly on the CPU; it runs in float");
    settings.insert(settings.end(), {"LP_TRANSFORMS_MODE", "NO"});
  }
  auto compiled = std::make_shared<Compiled>();
  compiled->model = compile(spec, device, settings, !options.profile);
  compiled->profile = options.profile;
  read_ports(spec, *compiled);
  for (const char c : device) compiled->device += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  compiled->precision = ov::precision_that_runs(
      options.precision.empty() ? "fp32" : options.precision, ov::model_property(*compiled->model, "EXECUTION_DEVICES"),
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
  entry.accepts = [](const ModelSpec& spec) { return spec.format == Format::onnx || spec.format == Format::openvino; };
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
  entry.precisions = [] {
    std::vector<std::string> out = ov::precisions_in(ov::device_property("CPU", "OPTIMIZATION_CAPABILITIES"));
    if (!has_bf16_arithmetic()) out.erase(std::remove(out.begin(), out.end(), "bf16"), out.end());
    return out;
  };
  return entry;
}

}  // namespace yolort
