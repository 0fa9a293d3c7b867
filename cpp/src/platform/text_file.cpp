#include "platform/text_file.h"

#include <fstream>
#include <utility>

namespace yolort {

std::optional<std::string> read_text(const std::filesystem::path& path, std::size_t max_bytes) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return std::nullopt;
  std::ifstream file(path, std::ios::binary);
  std::string text(max_bytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));  // an error sets badbit
  if (!file.is_open() || file.bad()) return std::nullopt;
  text.resize(static_cast<std::size_t>(file.gcount()));
  return text.size() > max_bytes ? std::nullopt : std::optional(std::move(text));
}

}  // namespace yolort
