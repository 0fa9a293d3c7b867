// NCNN on the CPU and, through Vulkan, on the GPU.
#include <cpu.h>
#include <gpu.h>
#include <layer.h>
#include <net.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <map>
#include <optional>
#include <set>

#include "core/engine.h"
#include "engines/ncnn/graph_check.h"
#include "engines/ncnn/int8/layers.h"
#include "engines/ncnn/layer_times.h"
#include "engines/ncnn/param_file.h"
#include "model/graph.h"
#include "platform/device_name.h"
#include "platform/processor.h"
#include "platform/system.h"

/// Defined in callbacks.cpp. The call also makes the linker take that file, which libncnn.a needs, from libyolort.a.
extern "C" int yolort_omp_get_max_threads();

namespace yolort {
namespace {

/// Index of the Vulkan device in a canonical device name; -1: the CPU.
int parse_device(const std::string& device) {
  if (device.empty() || device == "cpu") return -1;
  const int index = std::max(device_index(device, "vulkan"), device_index(device, "cuda"));
  if (index < 0) {
    throw std::invalid_argument("device \"" + device +
                                "\" is not supported by ncnn; expected cpu, vulkan, vulkan:0, vulkan:1, ...");
  }
#if NCNN_VULKAN
  const int count = ncnn::get_gpu_count();  // opens the Vulkan driver at the first call
  if (count == 0)
    throw EngineError("engine \"ncnn\" has no Vulkan device here; use device=\"cpu\" or install a driver");
  if (index >= count) {
    throw EngineError("engine \"ncnn\" has " + std::to_string(count) + " Vulkan device(s) here, but no \"" + device +
                      "\"");
  }
  return device == "vulkan" ? ncnn::get_default_gpu_index() : index;
#else
  throw EngineError("engine \"ncnn\" was built without Vulkan (YOLORT_NCNN_MINIMAL); use device=\"cpu\"");
#endif
}

/// The number at the end of "out12". Other names sort after these, in file order.
int output_rank(const char* name) {
  int rank = 0;
  const char* end = name + std::strlen(name);
  if (std::strncmp(name, "out", 3) != 0) return INT32_MAX;
  auto [stop, error] = std::from_chars(name + 3, end, rank);
  return error == std::errc() && stop == end ? rank : INT32_MAX;
}

/// The loaded network, shared by clones.
struct Network {
  ncnn::Net net;
  InputShape shape;
  int input = -1;
  std::vector<int> outputs;
  bool cut = false;
  std::string device, precision;
  std::optional<NcnnLayerTimes> times;
};

void set_device(Network& network, int gpu) {
  network.device = "cpu";
  network.net.opt.use_vulkan_compute = gpu >= 0;
  if (gpu < 0) return;
#if NCNN_VULKAN
  network.net.set_vulkan_device(gpu);
  network.device = "vulkan:" + std::to_string(gpu) + " " + ncnn::get_gpu_info(gpu).device_name();
#endif
}

/// The precisions of a device, fastest first; ncnn itself would silently compute in fp32. bf16 loses less accuracy than
/// fp16 and is faster on CPUs with bf16 instructions.
std::vector<std::string> precisions_of(int gpu) {
  bool storage = ncnn::cpu_support_arm_vfpv4(), arithmetic = ncnn::cpu_support_arm_asimdhp(), bf16 = true;
#if NCNN_VULKAN
  if (gpu >= 0) {
    const ncnn::GpuInfo& info = ncnn::get_gpu_info(gpu);
    storage = info.support_fp16_storage();
    arithmetic = storage && info.support_fp16_arithmetic();
    bf16 = info.support_bf16_storage();
  }
#endif
  std::vector<std::string> out = {"fp32"};
  if (bf16) out.insert(gpu < 0 && has_bf16_arithmetic() ? out.begin() : out.end(), "bf16");
  if (storage) out.insert(gpu < 0 ? out.end() : out.begin(), "fp16-storage");
  if (arithmetic) out.insert(gpu < 0 ? out.end() : out.begin(), "fp16");
  return out;
}

/// `fast`: use the fastest precision by default, instead of fp32.
void set_precision(Network& network, const std::string& asked, int gpu, bool fast) {
  const std::vector<std::string> able = precisions_of(gpu);
  std::string precision = asked;
  if (precision.empty()) precision = fast ? able.front() : "fp32";
  if (std::find(able.begin(), able.end(), precision) == able.end()) {
    std::string known;
    for (const std::string& name : able) known += (known.empty() ? "" : ", ") + name;
    throw EngineError("engine \"ncnn\" cannot compute in " + precision + " on " + network.device +
                      "; supported here: " + known);
  }
  ncnn::Option& opt = network.net.opt;
  opt.use_fp16_arithmetic = precision == "fp16";
  opt.use_fp16_packed = opt.use_fp16_storage = precision == "fp16" || precision == "fp16-storage";
  opt.use_bf16_packed = opt.use_bf16_storage = precision == "bf16";
  network.precision = precision;
}

/// The layers that produce boxes and scores stay in fp32 if the rest is bf16. A feature mask alone does not work: ncnn
/// applies the network's options to a layer's input before the mask, so the layer would read bf16 data as fp32. The
/// mask is therefore set only while the weights are prepared. After that, the layer is marked as not supporting bf16,
/// and ncnn converts its input.
class FloatLayers {
 public:
  FloatLayers(ncnn::Net& net, const std::vector<int>& outputs) {
    for (const int blob : outputs) {
      const int producer = net.blobs()[static_cast<std::size_t>(blob)].producer;
      if (producer >= 0) layers_.push_back(net.mutable_layers()[static_cast<std::size_t>(producer)]);
    }
    for (ncnn::Layer* layer : layers_) layer->featmask |= mask_bf16;
  }
  void weights_loaded() {
    for (ncnn::Layer* layer : layers_) {
      layer->featmask &= ~mask_bf16;
      layer->support_bf16_storage = false;
    }
  }

 private:
  static constexpr int mask_bf16 = 1 << 2;  // key 31 of a .param line
  std::vector<ncnn::Layer*> layers_;
};

class NcnnEngine final : public Engine {
 public:
  explicit NcnnEngine(std::shared_ptr<const Network> network) : network_(std::move(network)) {}

  InputShape input_shape() const override { return network_->shape; }
  bool is_cut() const override { return network_->cut; }

  Tensor input(int, int height, int width) override {
    if (input_.empty()) {
      input_.create(width, height, network_->shape.channels);
      if (input_.empty()) throw EngineError("engine \"ncnn\": not enough memory for the input");
      input_.fill(0.f);
    }
    const std::vector<int> shape = {1, network_->shape.channels, height, width};
    return {input_.data, shape, static_cast<std::ptrdiff_t>(input_.cstep), Type::f32};
  }

  const std::vector<Tensor>& run() override {
    outputs_.clear();
    tensors_.clear();
    ncnn::Extractor extractor = network_->net.create_extractor();
    if (extractor.input(network_->input, input_) != 0) throw EngineError("engine \"ncnn\": the input was refused");
    for (const int index : network_->outputs) {
      ncnn::Mat output;
      if (extractor.extract(index, output) != 0 || output.empty()) {
        throw EngineError(
            "engine \"ncnn\": the network failed to run; the model may be damaged or made for another "
            "input size");
      }
      outputs_.push_back(output);
    }
    for (ncnn::Mat& output : outputs_) tensors_.push_back(as_tensor(output));
    return tensors_;
  }

  std::vector<LayerTime> layer_times() override {
    return network_->times ? network_->times->take() : std::vector<LayerTime>();
  }
  std::unique_ptr<Engine> clone() const override { return std::make_unique<NcnnEngine>(network_); }
  std::string device() const override { return network_->device; }
  std::string precision() const override { return network_->precision; }

 private:
  static Tensor as_tensor(ncnn::Mat& mat) {
    if (mat.elemsize != 4 || mat.elempack != 1) throw EngineError("engine \"ncnn\": an output is not fp32");
    if (mat.dims == 3) return {mat.data, {1, mat.c, mat.h, mat.w}, static_cast<std::ptrdiff_t>(mat.cstep), Type::f32};
    if (mat.dims == 2) return {mat.data, {1, mat.h, mat.w}, mat.w, Type::f32};
    if (mat.dims == 1) return {mat.data, {1, mat.w}, 1, Type::f32};
    throw ModelError("an output has " + std::to_string(mat.dims) + " dimensions, expected 1 to 3");
  }

  std::shared_ptr<const Network> network_;  // first: the outputs are in its memory pool
  ncnn::Mat input_;
  std::vector<ncnn::Mat> outputs_;
  std::vector<Tensor> tensors_;
};

/// The type of a layer. For arithmetic that heads contain, the type of the operation.
std::string type_of(const ncnn_graph::Layer& layer) {
  constexpr int operation = 0, sine = 9, cosine = 10;
  const auto found = layer.parameters.find(operation);
  if (layer.type != "UnaryOp" || found == layer.parameters.end() || found->second.values.size() != 1) return layer.type;
  return found->second.values[0] == sine ? "Sin" : found->second.values[0] == cosine ? "Cos" : layer.type;
}

Graph read_param_graph(const ModelSpec& spec) {
  Graph graph;
  std::map<std::string, std::string> same;  // outputs of Split by its input
  std::set<std::string> read;
  const auto name = [&](const std::string& blob) { return same.count(blob) ? same[blob] : blob; };
  ncnn_graph::read_param(spec.graph, [&](const ncnn_graph::Layer& layer) {
    GraphNode node{type_of(layer), {}, layer.tops};
    for (const std::string& bottom : layer.bottoms) node.inputs.push_back(name(bottom));
    read.insert(layer.bottoms.begin(), layer.bottoms.end());
    if (layer.type != "Split") {
      graph.nodes.push_back(std::move(node));
    } else if (!node.inputs.empty()) {
      for (const std::string& top : layer.tops) same[top] = node.inputs[0];
    }
  });
  for (const GraphNode& node : graph.nodes) {
    for (const std::string& output : node.outputs) {
      if (!read.count(output)) graph.outputs.push_back(output);
    }
  }
  return graph;
}

/// Indices of the blobs to extract: `maps`, or if the network is not cut, its outputs in numerical order.
std::vector<int> outputs_of(const ncnn::Net& net, const std::vector<std::string>& maps) {
  std::vector<int> out;
  for (const std::string& map : maps) {
    const auto blob =
        std::find_if(net.blobs().begin(), net.blobs().end(), [&](const ncnn::Blob& one) { return one.name == map; });
    out.push_back(static_cast<int>(blob - net.blobs().begin()));
  }
  if (!maps.empty()) return out;
  std::vector<std::pair<int, int>> ranked;
  for (std::size_t i = 0; i < net.output_indexes().size(); ++i) {
    ranked.emplace_back(output_rank(net.output_names()[i]), net.output_indexes()[i]);
  }
  std::stable_sort(ranked.begin(), ranked.end(), [](auto& a, auto& b) { return a.first < b.first; });
  for (const auto& [rank, index] : ranked) out.push_back(index);
  return out;
}

std::unique_ptr<Engine> load(const ModelSpec& spec, const Options& options) {
  const auto damaged = [&](const std::filesystem::path& file) {
    return ModelError("model \"" + spec.path + "\": ncnn cannot read " + file.filename().string() +
                      "; it is truncated, damaged, or uses a layer this build lacks. Export it again");
  };
  const int gpu = parse_device(options.device);
  if (options.profile && gpu >= 0) {
    throw EngineError(
        "engine \"ncnn\" times layers only on the CPU; on Vulkan all layers are submitted to the GPU at once");
  }
  // A .param does not record the input size, and is valid for only one size.
  if (!spec.height || !spec.width) throw unknown_imgsz(spec);
  try {
    check_ncnn_graph(spec.graph, spec.weights, {channels_of(spec, 0), spec.height, spec.width});
  } catch (const ModelError& what) {
    throw ModelError("model \"" + spec.path + "\": " + what.what());
  }
  auto network = std::make_shared<Network>();
  network->shape = {1, spec.height, spec.width};
  network->shape.channels = channels_of(spec, 0);
  ncnn::Net& net = network->net;
  net.opt.num_threads = options.threads.value_or(yolort_omp_get_max_threads());
  set_device(*network, gpu);
  std::vector<std::string> maps;
  if (spec.may_be_cut()) maps = raw_maps(spec, read_param_graph(spec));
  network->cut = !maps.empty();
  const bool casts_cost_more = spec.precision == "int8" && gpu < 0;  // between INT8 convolutions
  set_precision(*network, options.precision, gpu, !casts_cost_more && (network->cut || spec.layout.head == Head::raw));

  register_int8_layers(net);
  if (net.load_param(spec.graph.string().c_str()) != 0) throw damaged(spec.graph);
  if (gpu >= 0 && has_int8_layers(net)) {
    throw EngineError("engine \"ncnn\" runs this INT8 model on the CPU only; use device=\"cpu\", or an FP32 model");
  }
  network->outputs = outputs_of(net, maps);
  std::optional<FloatLayers> float_layers;
  if (net.opt.use_bf16_storage) float_layers.emplace(net, network->outputs);
  if (net.load_model(spec.weights.string().c_str()) != 0) throw damaged(spec.weights);
  if (float_layers) float_layers->weights_loaded();
  if (options.profile) network->times.emplace(net);
  if (net.output_indexes().empty()) throw ModelError("model \"" + spec.path + "\" has no outputs");
  network->input = net.input_indexes()[0];

  return std::make_unique<NcnnEngine>(std::move(network));
}

}  // namespace

EngineEntry ncnn_engine() {
  EngineEntry entry;
  entry.name = "ncnn";
  entry.priority = 50;
  entry.unavailable = [] { return std::string(); };
  entry.accepts = [](const ModelSpec& spec) { return spec.format == Format::ncnn; };
  entry.load = load;
  entry.library = [] { return EngineLibrary{NCNN_VERSION_STRING, ""}; };
  entry.devices = [] {
    std::vector<std::string> out = {"cpu"};
#if NCNN_VULKAN
    for (int i = 0; i < ncnn::get_gpu_count(); ++i) {
      out.push_back("vulkan:" + std::to_string(i) + " " + ncnn::get_gpu_info(i).device_name());
    }
#endif
    return out;
  };
  entry.precisions = [](const std::string& device) {
    const int gpu = parse_device(device);
    std::vector<std::string> out = precisions_of(gpu);
    const auto is_slower = [&](const std::string& name) {  // only storage, or bf16 without bf16 instructions
      return gpu < 0 && (name == "fp16-storage" || (name == "bf16" && !has_bf16_arithmetic()));
    };
    out.erase(std::remove_if(out.begin(), out.end(), is_slower), out.end());
    std::stable_partition(out.begin(), out.end(), [](const std::string& name) { return name == "fp32"; });
    return out;
  };
  return entry;
}

}  // namespace yolort
