// Shared libraries that are opened at run time.
#pragma once

#include <filesystem>
#include <string>

namespace yolort {

/// Also to be searched by open_library(): the folders of Python packages that bring libraries. Thread-safe.
void add_library_folder(const std::filesystem::path& folder);

/// Opens a library by its file name, as the system finds it (LD_LIBRARY_PATH, ldconfig), else in those folders; it
/// stays open. Null where it is not found or cannot be loaded; where it is there and lacks another, `why` says so.
void* open_library(const std::string& name, std::string* why = nullptr);

}  // namespace yolort
