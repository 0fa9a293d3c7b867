// Shared libraries that are opened at run time.
#pragma once

#include <filesystem>
#include <string>

namespace yolort {

/// Adds a folder that open_library() searches, such as that of a Python package that brings libraries. Thread-safe.
void add_library_folder(const std::filesystem::path& folder);

/// Opens a library by its file name: where the system finds it (LD_LIBRARY_PATH, ldconfig), otherwise in those folders.
/// It stays open. Null if it is not found or cannot be loaded; if it needs another library that is missing, `why` says
/// so.
void* open_library(const std::string& name, std::string* why = nullptr);

}  // namespace yolort
