#include "engines/openvino/compile.h"

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <utility>

#include "engines/openvino/ir_graph.h"
#include "engines/openvino/model_cache.h"
#include "model/onnx_graph.h"
#include "model/value.h"
#include "platform/text_file.h"

namespace yolort::openvino {
namespace {

/// Identifies the file's current contents by attributes that change when it is written.
std::string identity_of(const std::filesystem::path& file) {
  std::error_code error;
  if (file.empty()) return {};
  return std::filesystem::absolute(file, error).string() + "\n" +
         std::to_string(std::filesystem::file_size(file, error)) + "\n" +
         std::to_string(
             static_cast<long long>(std::filesystem::last_write_time(file, error).time_since_epoch().count())) +
         "\n";
}

constexpr std::size_t max_xml_bytes = std::size_t{1} << 28;  ///< the graph of a YOLO model takes less than one megabyte
constexpr std::size_t max_settings = 14;                     ///< keys and values

template <class Call, std::size_t... i>
Status with_pointers(const char* const* settings, Call call, std::index_sequence<i...>) {
  return call(settings[i]...);
}

/// Calls a variadic OpenVINO function with the settings. Unused arguments are null; the function reads only the given
/// number.
template <class Call>
Status with_settings(const std::vector<std::string>& settings, Call call) {
  const char* all[max_settings] = {};
  if (settings.size() > max_settings) throw std::logic_error("more settings than are handed on");
  for (std::size_t i = 0; i < settings.size(); ++i) all[i] = settings[i].c_str();
  return with_pointers(all, call, std::make_index_sequence<max_settings>());
}

/// A model that was read but not compiled yet.
CompiledModel* compile_read(const char* text, std::size_t size, const Tensor* weights, const std::string& device,
                            const std::vector<std::string>& settings, Status& status) {
  Model* read = nullptr;
  status = api().core_read_model_from_memory_buffer(runtime().core, text, size, weights, &read);
  if (status != 0) return nullptr;
  const Owned<Model> model(read);
  CompiledModel* compiled = nullptr;
  status = with_settings(settings, [&](auto... pairs) {
    return api().core_compile_model(runtime().core, model.get(), device.c_str(), settings.size(), &compiled, pairs...);
  });
  return compiled;
}

/// The bytes of a file.
Owned<Tensor> read_weights(const std::filesystem::path& path) {
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  std::ifstream file(path, std::ios::binary);
  std::int64_t side = static_cast<std::int64_t>(size);
  Tensor* tensor = nullptr;
  if (error || !file || size == 0) throw ModelError("weights " + path.string() + " cannot be read");
  check(api().tensor_create(api().i8, {1, &side}, &tensor));
  Owned<Tensor> out(tensor);
  if (!file.read(static_cast<char*>(data_of(*out)), static_cast<std::streamsize>(size))) {
    throw ModelError("weights " + path.string() + " cannot be read");
  }
  return out;
}

CompiledModel* compile_cut(const Source& source, const std::vector<std::string>& maps, const std::string& device,
                           const std::vector<std::string>& settings, Status& status) {
  if (source.spec.format == Format::onnx) {
    const std::string onnx = with_outputs(read_graph(source.spec), maps);
    return compile_read(onnx.data(), onnx.size(), nullptr, device, settings, status);
  }
  const std::string xml = ir_with_outputs(source.xml, maps);
  const Owned<Tensor> weights = read_weights(source.spec.weights);
  return compile_read(xml.c_str(), xml.size(), weights.get(), device, settings, status);
}

CompiledModel* compile_file(const ModelSpec& spec, const std::string& device, const std::vector<std::string>& settings,
                            Status& status) {
  CompiledModel* compiled = nullptr;
  status = with_settings(settings, [&](auto... pairs) {
    return api().core_compile_model_from_file(runtime().core, spec.graph.string().c_str(), device.c_str(),
                                              settings.size(), &compiled, pairs...);
  });
  return compiled;
}

}  // namespace

Source::Source(const ModelSpec& from) : spec(from) {
  if (spec.format == Format::openvino) {
    xml = read_text(spec.graph, max_xml_bytes).value_or("");
    graph = read_ir_graph(xml);
    return;
  }
  if (spec.format != Format::onnx) return;
  try {
    const GraphStream file = open_graph(spec);
    graph = read_onnx_graph(*file.stream, file.size);
  } catch (const ParseError&) {
  }
}

Owned<CompiledModel> compile(const Source& source, const std::vector<std::string>& maps, const std::string& device,
                             std::vector<std::string> settings, bool keep) {
  const ModelSpec& spec = source.spec;
  std::optional<ModelCache> cache;
  if (keep && spec.contents.empty()) {  // a model in memory may have been encrypted
    std::string identity =
        runtime().version + "\n" + device + "\n" + identity_of(spec.graph) + identity_of(spec.weights);
    for (const std::string& setting : settings) identity += setting + "\n";
    for (const std::string& map : maps) identity += map + "\n";
    cache.emplace(identity);
    if (!cache->folder().empty()) settings.insert(settings.end(), {"CACHE_DIR", cache->folder().string()});
  }
  Status status = 0;
  CompiledModel* compiled = !maps.empty()           ? compile_cut(source, maps, device, settings, status)
                            : spec.contents.empty() ? compile_file(spec, device, settings, status)
                                                    : compile_read(spec.contents.data(), spec.contents.size(), nullptr,
                                                                   device, settings, status);
  Owned<CompiledModel> out(compiled);
  check<ModelError>(status, "model \"" + spec.path + "\": OpenVINO cannot load it");
  return out;
}

}  // namespace yolort::openvino
