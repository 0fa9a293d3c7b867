#include "platform/dynamic_library.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <mutex>
#include <vector>

#include "platform/system.h"

namespace yolort {
namespace {

namespace fs = std::filesystem;

/// Python packages that contain libraries, and the folder within them; TensorRT 8.6 has its libraries in `tensorrt`.
constexpr const char* packages[] = {"onnxruntime/capi",   "openvino/libs",          "tensorrt_libs",
                                    "tensorrt_lean_libs", "tensorrt_dispatch_libs", "tensorrt"};

std::mutex mutex;
std::vector<fs::path>& package_folders() {
  static std::vector<fs::path> instance;
  return instance;
}

/// The folders listed in an environment variable such as PATH.
std::vector<fs::path> folders_in(const char* variable) {
  const char* value = std::getenv(variable);
  std::vector<fs::path> out;
  for (std::string rest = value ? value : ""; !rest.empty();) {
    const std::size_t end = std::min(rest.find(system::list_separator), rest.size());
    if (end > 0) out.emplace_back(rest.substr(0, end));
    rest.erase(0, end + 1);
  }
  return out;
}

std::vector<fs::path> library_folders_of_packages() {
  std::vector<fs::path> roots;
  {
    std::lock_guard lock(mutex);
    roots = package_folders();
  }
  for (const char* variable : {"VIRTUAL_ENV", "CONDA_PREFIX"}) {
    for (const fs::path& environment : folders_in(variable)) {
      for (fs::path& folder : system::site_packages(environment)) roots.push_back(std::move(folder));
    }
  }
  std::vector<fs::path> out;
  for (const fs::path& root : roots) {
    for (const char* package : packages) out.push_back(root / package);
  }
  return out;
}

/// Numbers of a version: 1.32.0 is newer than 1.9.
std::vector<long> version_of(const std::string& text) {
  std::vector<long> out;
  for (std::size_t at = 0; at < text.size();) {
    if (std::isdigit(static_cast<unsigned char>(text[at]))) {
      std::size_t digits = 0;
      while (at + digits < text.size() && std::isdigit(static_cast<unsigned char>(text[at + digits]))) ++digits;
      out.push_back(digits > 9 ? 0 : std::stol(text.substr(at, digits)));
      at += digits;
    } else {
      ++at;
    }
  }
  return out;
}

bool is_unversioned(const fs::path& name) { return name.extension() == ".so" || name.extension() == ".dylib"; }

/// Whether a file has this name with a version: libx.so.1.2 of libx.so, libx.1.2.dylib of libx.dylib.
bool is_version_of(const fs::path& file, const fs::path& name) {
  const bool after_stem = name.extension() == ".dylib" && file.extension() == ".dylib";
  const std::string start = (after_stem ? name.stem() : name).string() + ".";
  return file != name && file.string().rfind(start, 0) == 0;
}

/// The files of this name in a folder: that without a version first, then the newest first.
std::vector<fs::path> files_named(const fs::path& folder, const std::string& name) {
  std::error_code error;
  std::vector<fs::path> out;
  if (fs::exists(folder / name, error)) out.push_back(folder / name);
  if (!is_unversioned(name)) return out;
  std::vector<std::pair<std::vector<long>, fs::path>> versions;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const fs::path file = entry.path().filename();
    if (is_version_of(file, name)) versions.emplace_back(version_of(file.string()), entry.path());
  }
  std::sort(versions.rbegin(), versions.rend());
  for (auto& [version, path] : versions) out.push_back(std::move(path));
  return out;
}

class Opener {
 public:
  Opener(const std::string& name, std::string& why) : name_(name), why_(why) {}

  void* by_system() const {
    std::string error;
    void* library = system::open_library(name_, error);
    // "<missing file>: cannot open ...": if the name differs, a dependency is missing
    if (!library && error.compare(0, name_.size(), name_) != 0) why_ = name_ + " needs " + error;
    return library;
  }

  void* in(const std::vector<fs::path>& folders) const {
    for (const fs::path& folder : folders) {
      for (const fs::path& path : files_named(folder, name_)) {
        std::string error;
        const std::string file = path.string();
        if (void* library = system::open_library(file, error)) return library;
        why_ = error.compare(0, file.size(), file) == 0 ? error : name_ + " needs " + error;
      }
    }
    return nullptr;
  }

 private:
  const std::string& name_;
  std::string& why_;
};

}  // namespace

void add_package_folder(const fs::path& folder) {
  std::lock_guard lock(mutex);
  package_folders().push_back(folder);
}

void* open_library(const std::string& name, std::string* why) {
  std::string reason;
  const std::string file = system::library_name(name);
  const Opener open(file, reason);
  void* library = open.in(folders_in("YOLORT_LIBRARY_PATH"));
  if (!library) library = open.by_system();
  if (!library) library = open.in(folders_in(system::library_path_variable));
  if (!library) library = open.in(library_folders_of_packages());
  if (!library) library = open.in(system::library_folders);
  if (why && !library && !reason.empty()) *why = reason;
  return library;
}

void* find_function(void* library, const char* name) { return system::find_function(library, name); }

std::string library_path(const void* function) { return system::library_file(function); }

}  // namespace yolort
