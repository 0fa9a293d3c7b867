// The folder for files that can be recreated.
#pragma once

#include <filesystem>
#include <string>

namespace yolort {

/// $YOLORT_CACHE, otherwise `yolort` in $XDG_CACHE_HOME or ~/.cache; empty if none of these is set.
std::filesystem::path cache_folder();

/// A short name for a text, such as a path (FNV-1a of 64 bits: no secret).
std::string short_digest(const std::string& text);

}  // namespace yolort
