#include "platform/dynamic_library.h"

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

void* open_library(const std::string& name, std::string* why) {
  std::vector<std::string> places = {name};
  {
    std::lock_guard lock(mutex);
    for (const auto& folder : folders()) places.push_back((folder / name).string());
  }
  for (const std::string& place : places) {
    if (void* library = dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
    const char* error = dlerror();  // "<what is not found>: cannot open ...": another name is what it needs
    if (why && error && std::string(error).compare(0, place.size(), place) != 0) *why = name + " needs " + error;
  }
  return nullptr;
}

}  // namespace yolort
