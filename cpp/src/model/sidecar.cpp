#include "model/sidecar.h"

#include <filesystem>
#include <fstream>
#include <iterator>

#include "model/metadata.h"
#include "model/yaml.h"

namespace yolort {

Dict read_sidecar(const ModelSpec& spec) {
  const std::filesystem::path path = spec.graph.parent_path() / "metadata.yaml";
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return {};
  if (std::filesystem::file_size(path, error) > max_metadata_bytes || error) {
    fail(spec, "metadata.yaml cannot be read or is larger than 1 MiB");
  }
  std::ifstream file(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)), {});
  if (!file.good() && !file.eof()) fail(spec, "metadata.yaml cannot be read");
  try {
    Value value = parse_yaml(text);
    if (Dict* dict = std::get_if<Dict>(&value.data)) return std::move(*dict);
  } catch (const ParseError& what) {
    fail(spec, std::string("metadata.yaml: ") + what.what());
  }
  fail(spec, "metadata.yaml holds no 'key: value' lines");
}

}  // namespace yolort
