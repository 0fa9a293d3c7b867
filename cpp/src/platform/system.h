// The operating system interface, implemented in system_posix.cpp and system_windows.cpp. No other source depends on
// the system.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace yolort::system {

/// Separates folders in an environment variable.
extern const char list_separator;
/// The environment variable that lists library folders.
extern const char* const library_path_variable;
/// Library folders that are searched last.
extern const std::vector<std::filesystem::path> library_folders;
/// The null device.
extern const char* const null_device;

/// The file name on this system of a library given by its Linux name: "libx.so.1" is libx.1.dylib on macOS, x.dll on
/// Windows.
std::string library_name(const std::string& linux_name);

/// Null if the library cannot be opened. `error` then begins with the name of the file that is missing or damaged: this
/// one, or a library that it needs.
void* open_library(const std::string& file, std::string& error);

void* find_function(void* library, const char* name);

/// The file of the library that has this function; empty if that is unknown.
std::string library_file(const void* function);

/// Folders named site-packages in an environment of Python.
std::vector<std::filesystem::path> site_packages(const std::filesystem::path& environment);

/// Registers a function to be called in every child that this process forks. Returns false if that is impossible. It is
/// never called on systems without fork.
bool after_fork(void (*in_child)());

/// Creates the folder if it is missing. Returns false if it is not writable, belongs to another user, or (POSIX) is
/// writable by others.
bool make_private_folder(const std::filesystem::path& folder);

/// Creates a temporary folder with a unique name; empty if that fails.
std::filesystem::path make_temporary_folder();

/// A lock on a file, exclusive or shared, against holders in this and other processes. Released by the destructor.
class FileLock {
 public:
  enum class Kind { shared, exclusive };

  FileLock() = default;
  /// Creates the file if it is missing. Does not wait: check whether the lock was acquired.
  FileLock(const std::filesystem::path& file, Kind kind);
  FileLock(FileLock&& other) noexcept : handle_(std::exchange(other.handle_, none)) {}
  FileLock& operator=(FileLock&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~FileLock();

  explicit operator bool() const { return handle_ != none; }

 private:
  static constexpr std::intptr_t none = -1;
  std::intptr_t handle_ = none;
};

}  // namespace yolort::system
