// The folder for files that can be recreated.
#pragma once

#include <filesystem>
#include <string>

namespace yolort {

/// $YOLORT_CACHE, otherwise `yolort` in $XDG_CACHE_HOME or ~/.cache; empty if none of these is set.
std::filesystem::path cache_folder();

/// A short name derived from a text such as a path (64-bit FNV-1a; not secure).
std::string short_digest(const std::string& text);

}  // namespace yolort
