#include "model/sidecar.h"

#include <filesystem>
#include <optional>
#include <string>

#include "model/metadata.h"
#include "model/yaml.h"
#include "platform/text_file.h"

namespace yolort {

Dict read_sidecar(const ModelSpec& spec) {
  const std::filesystem::path path = spec.graph.parent_path() / "metadata.yaml";
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return {};
  const std::optional<std::string> text = read_text(path, max_metadata_bytes);
  if (!text) fail(spec, "metadata.yaml cannot be read or is larger than 8 MiB");
  try {
    Value value = parse_yaml(*text);
    if (Dict* dict = std::get_if<Dict>(&value.data)) return std::move(*dict);
  } catch (const ParseError& what) {
    fail(spec, std::string("metadata.yaml: ") + what.what());
  }
  fail(spec, "metadata.yaml has no 'key: value' lines");
}

}  // namespace yolort
