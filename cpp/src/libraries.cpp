#include "libraries.h"

#include <dlfcn.h>

#include <mutex>
#include <vector>

namespace yolort {
namespace {

std::mutex mutex;
std::vector<std::filesystem::path>& folders() {
  static std::vector<std::filesystem::path> instance;
  return instance;
}

}  // namespace

void add_library_folder(const std::filesystem::path& folder) {
  std::lock_guard lock(mutex);
  folders().push_back(folder);
}

void* open_library(const std::string& name) {
  if (void* library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
  std::lock_guard lock(mutex);
  for (const auto& folder : folders()) {
    if (void* library = dlopen((folder / name).c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
  }
  return nullptr;
}

}  // namespace yolort
