// The operating system interface, implemented in system_posix.cpp and system_windows.cpp. No other source depends on
// the system.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace yolort::system {

/// Between the folders of a list in the environment.
extern const char list_separator;
/// The variable that lists folders of libraries.
extern const char* const library_path_variable;
/// Folders of libraries that are searched last.
extern const std::vector<std::filesystem::path> library_folders;
/// The null device.
extern const char* const null_device;

/// The file name here of a library that is named as on Linux: "libx.so.1" is libx.1.dylib on macOS, x.dll on Windows.
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

/// Makes the folder if it is missing. False if it cannot be written, is another user's, or (POSIX) others may write to
/// it.
bool make_private_folder(const std::filesystem::path& folder);

/// A new folder with a name of its own among the temporary ones; empty if it cannot be made.
std::filesystem::path make_temporary_folder();

/// The lock of a file against other holders, in this process or another, until it is destroyed. Several may share it.
class FileLock {
 public:
  enum class Kind { shared, exclusive };

  FileLock() = default;
  /// Makes the file if it is missing. Does not wait: the lock is not held if that is impossible now.
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
