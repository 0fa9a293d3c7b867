// Small files that are read whole.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>

namespace yolort {

/// The contents of a regular file; nothing if it cannot be read or holds more bytes.
std::optional<std::string> read_text(const std::filesystem::path& path, std::size_t max_bytes);

}  // namespace yolort
