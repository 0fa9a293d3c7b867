#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "platform/system.h"

namespace yolort::system {

namespace fs = std::filesystem;

const char list_separator = ':';
const char* const null_device = "/dev/null";
#ifdef __APPLE__
const char* const library_path_variable = "DYLD_LIBRARY_PATH";
const std::vector<fs::path> library_folders = {"/usr/local/lib", "/opt/homebrew/lib"};
#else
const char* const library_path_variable = "LD_LIBRARY_PATH";
const std::vector<fs::path> library_folders = {"/usr/local/lib",
#if defined(__x86_64__)
                                               "/usr/lib/x86_64-linux-gnu",
#elif defined(__aarch64__)
                                               "/usr/lib/aarch64-linux-gnu",
#endif
                                               "/usr/lib64", "/usr/lib"};
#endif

std::string library_name(const std::string& linux_name) {
#ifdef __APPLE__
  const std::size_t ending = linux_name.find(".so");
  if (ending == std::string::npos) return linux_name;
  return linux_name.substr(0, ending) + linux_name.substr(ending + 3) + ".dylib";
#else
  return linux_name;
#endif
}

void* open_library(const std::string& file, std::string& error) {
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library) return library;
  error = dlerror();
#ifdef __APPLE__  // "dlopen(file, 0x0006): tried: ..."
  if (error.compare(0, 7 + file.size(), "dlopen(" + file) == 0) error.replace(0, error.find("): ") + 1, file);
#endif
  return nullptr;
}

void* find_function(void* library, const char* name) { return dlsym(library, name); }

std::string library_file(const void* function) {
  Dl_info info;
  return function && dladdr(function, &info) && info.dli_fname ? info.dli_fname : "";
}

std::vector<fs::path> site_packages(const fs::path& environment) {
  std::vector<fs::path> out;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(environment / "lib", error)) {
    if (entry.path().filename().string().rfind("python3", 0) == 0) out.push_back(entry.path() / "site-packages");
  }
  return out;
}

bool after_fork(void (*in_child)()) { return pthread_atfork(nullptr, nullptr, in_child) == 0; }

bool make_private_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder.parent_path(), error);
  ::mkdir(folder.c_str(), S_IRWXU);
  struct stat found{};
  return ::stat(folder.c_str(), &found) == 0 && S_ISDIR(found.st_mode) && found.st_uid == ::geteuid() &&
         !(found.st_mode & (S_IWGRP | S_IWOTH)) && ::access(folder.c_str(), W_OK) == 0;
}

fs::path make_temporary_folder() {
  std::error_code error;
  std::string pattern = (fs::temp_directory_path(error) / "yolort-XXXXXX").string();
  return mkdtemp(pattern.data()) ? fs::path(pattern) : fs::path();
}

FileLock::FileLock(const fs::path& file, Kind kind) {
  const int descriptor = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, S_IRUSR | S_IWUSR);
  if (descriptor < 0) return;
  if (::flock(descriptor, (kind == Kind::shared ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0) {
    handle_ = descriptor;
  } else {
    ::close(descriptor);
  }
}

FileLock::~FileLock() {
  if (handle_ != none) ::close(static_cast<int>(handle_));
}

}  // namespace yolort::system
