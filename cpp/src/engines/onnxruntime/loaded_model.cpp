#include "engines/onnxruntime/loaded_model.h"

#include <climits>
#include <utility>

#include "model/onnx_graph.h"
#include "model/value.h"

namespace yolort::ort {
namespace {

/// The option that sets the file name prefix of profiles.
const std::string trace_prefix = "profile_file_prefix";

std::string take_name(char* name) {
  const std::string out = name;
  check(api().free(default_allocator(), name));
  return out;
}

/// Options of the session have a dot in their name; the others are the provider's.
ProviderOptions set_session_options(SessionOptions* settings, const Options& options, LoadedModel& model) {
  ProviderOptions of_provider = options.engine_options;
  if (options.threads) check(api().set_intra_op_threads(settings, *options.threads));
  if (options.profile) {
    const auto prefix = of_provider.extract(trace_prefix);
    model.traces = std::make_unique<TraceFolder>(prefix.empty() ? "" : prefix.mapped());
    check(api().enable_profiling(settings, std::filesystem::path(model.traces->prefix()).c_str()));
  }
  for (auto it = of_provider.begin(); it != of_provider.end();) {
    const auto& [key, value] = *it;
    if (key.find('.') == std::string::npos) {
      ++it;
      continue;
    }
    check<std::invalid_argument>(api().add_session_config_entry(settings, key.c_str(), value.c_str()),
                                 "engine_options: \"" + key + "\"");
    it = of_provider.erase(it);
  }
  return of_provider;
}

void read_names(LoadedModel& model) {
  const Session* from = model.session.get();
  std::size_t inputs = 0, outputs = 0;
  check(api().input_count(from, &inputs));
  check(api().output_count(from, &outputs));
  if (inputs != 1) {
    throw ModelError("model \"" + model.path + "\" has " + std::to_string(inputs) + " inputs, expected one image");
  }
  char* name = nullptr;
  check(api().input_name(from, 0, default_allocator(), &name));
  model.input = take_name(name);
  for (std::size_t i = 0; i < outputs; ++i) {
    check(api().output_name(from, i, default_allocator(), &name));
    model.outputs.push_back(take_name(name));
  }
}

void read_input(LoadedModel& model, const ModelSpec& spec) {
  Owned<TypeInfo> type;
  check(api().input_type(model.session.get(), 0, Into(type)));
  const TensorInfo* tensor = nullptr;
  check(api().type_as_tensor(type.get(), &tensor));
  bool image = tensor;
  if (image) {
    const TensorType input(tensor);
    image = input.is_float() && input.shape.size() == 4 && input.shape[1] <= max_channels;
    for (const std::int64_t side : input.shape) image = image && side != 0 && side <= INT_MAX;
    if (image) {
      const auto side = [&](std::size_t d) { return input.shape[d] < 0 ? 0 : static_cast<int>(input.shape[d]); };
      model.element = input.element;
      model.shape = {side(0), side(2), side(3)};
      model.shape.channels = channels_of(spec, side(1));
    }
  }
  if (!image) throw ModelError("model \"" + model.path + "\": its input is not float (batch, channels, height, width)");
}

/// The model up to the raw maps of its head; empty: it cannot be cut, or is damaged.
std::string cut_graph(const ModelSpec& spec) {
  if (!spec.may_be_cut()) return {};
  try {
    const GraphStream file = open_graph(spec);
    const std::vector<std::string> maps = raw_maps(spec, read_onnx_graph(*file.stream, file.size));
    return maps.empty() ? std::string() : with_outputs(read_graph(spec), maps);
  } catch (const ParseError&) {
    return {};
  }
}

}  // namespace

TensorType::TensorType(const TensorInfo* from) {
  check(api().element_type(from, &element));
  std::size_t count = 0;
  check(api().dimension_count(from, &count));
  shape.resize(count);
  check(api().dimensions(from, shape.data(), count));
}

Allocator* default_allocator() {
  Allocator* out = nullptr;
  check(api().default_allocator(&out));
  return out;
}

std::shared_ptr<LoadedModel> load_model(const ModelSpec& spec, const Options& options) {
  auto model = std::make_shared<LoadedModel>();
  model->path = spec.path;
  model->placement = parse_placement(options.device);
  Owned<SessionOptions> settings;
  check(api().create_session_options(Into(settings)));
  ProviderOptions of_provider = set_session_options(settings.get(), options, *model);
  append_provider(api(), settings.get(), model->placement, std::move(of_provider),
                  "ONNX Runtime " + runtime().version + " (" + runtime().path + ")");
  const std::string cut = cut_graph(spec);
  model->cut = !cut.empty();
  const std::string_view bytes = model->cut ? cut : spec.contents;
  Status* status = bytes.empty() ? api().create_session(runtime().environment, spec.graph.c_str(), settings.get(),
                                                        Into(model->session))
                                 : api().create_session_from_array(runtime().environment, bytes.data(), bytes.size(),
                                                                   settings.get(), Into(model->session));
  const std::string what = "model \"" + spec.path + "\": onnxruntime cannot load it";
  if (model->placement.provider) {
    check(status, what + " on " + model->placement.device());
  } else {
    check<ModelError>(status, what);
  }
  read_names(*model);
  read_input(*model, spec);
  return model;
}

}  // namespace yolort::ort
