// Shared libraries that are opened at run time.
#pragma once

#include <filesystem>
#include <string>

namespace yolort {

/// Adds a folder of Python packages (site-packages): open_library() also searches the packages in it that are known to
/// contain libraries. Thread-safe.
void add_package_folder(const std::filesystem::path& folder);

/// Opens a library by its file name on Linux, which is mapped to the name on this system. A name without a version
/// ("libx.so") also matches "libx.so.<version>"; of several in one folder, the newest is opened. Searches the folders
/// in YOLORT_LIBRARY_PATH, then the system's search path (LD_LIBRARY_PATH, ldconfig), then the packages in the
/// folders of add_package_folder() and in the active virtual environment (VIRTUAL_ENV, CONDA_PREFIX). It stays open.
/// Returns null if it is not found or cannot be loaded; `why` reports a library that is damaged or lacks a dependency.
void* open_library(const std::string& name, std::string* why = nullptr);

/// A function of an open library; null if there is none with that name.
void* find_function(void* library, const char* name);

/// The path of the library that contains this function; empty if unknown.
std::string library_path(const void* function);

}  // namespace yolort
