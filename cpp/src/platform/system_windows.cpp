#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <windows.h>

#include <cctype>
#include <string>

#include "platform/system.h"

namespace yolort::system {

namespace fs = std::filesystem;

const char list_separator = ';';
const char* const library_path_variable = "PATH";
const std::vector<fs::path> library_folders;
const char* const null_device = "NUL";

std::string library_name(const std::string& linux_name) {
  if (linux_name == "libcuda.so.1") return "nvcuda.dll";
  if (linux_name == "libz.so.1") return "zlib1.dll";
  const std::size_t ending = linux_name.find(".so");
  if (ending == std::string::npos) return linux_name;
  const std::string name = linux_name.substr(linux_name.rfind("lib", 0) == 0 ? 3 : 0);
  const std::string stem = name.substr(0, name.find(".so"));
  const std::string version = linux_name.substr(ending + 3);
  // TensorRT's names: from 10 on, libnvinfer.so.10 is nvinfer_10.dll.
  if (stem.rfind("nv", 0) == 0 && version.size() > 2) return stem + "_" + version.substr(1) + ".dll";
  return stem + ".dll";
}

void* open_library(const std::string& file, std::string& error) {
  const fs::path path(file);
  // A library opened by its path finds its dependencies in its own folder.
  const DWORD flags = path.is_absolute() ? LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR | LOAD_LIBRARY_SEARCH_DEFAULT_DIRS : 0;
  if (const HMODULE library = LoadLibraryExW(path.c_str(), nullptr, flags)) return reinterpret_cast<void*>(library);
  const DWORD code = GetLastError();
  error = file + ": cannot be opened, error " + std::to_string(code) + " of Windows";
  if (code == ERROR_MOD_NOT_FOUND && path.is_absolute()) error += " (a library that it needs is missing)";
  return nullptr;
}

void* find_function(void* library, const char* name) {
  return reinterpret_cast<void*>(GetProcAddress(static_cast<HMODULE>(library), name));
}

std::string library_file(const void* function) {
  HMODULE library = nullptr;
  const DWORD flags = GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT;
  if (!function || !GetModuleHandleExW(flags, static_cast<LPCWSTR>(function), &library)) return "";
  std::wstring name(32768, L'\0');
  name.resize(GetModuleFileNameW(library, name.data(), static_cast<DWORD>(name.size())));
  return fs::path(name).string();
}

std::vector<fs::path> site_packages(const fs::path& environment) { return {environment / "Lib" / "site-packages"}; }

bool after_fork(void (*)()) { return true; }

bool make_private_folder(const fs::path& folder) {  // folders of a user are not accessible to others by default
  std::error_code error;
  fs::create_directories(folder, error);
  return fs::is_directory(folder, error);
}

fs::path make_temporary_folder() {
  std::error_code error;
  const fs::path folder = fs::temp_directory_path(error);
  for (int i = 0; i < 1000; ++i) {
    const fs::path made = folder / ("yolort-" + std::to_string(GetCurrentProcessId()) + "-" + std::to_string(i));
    if (fs::create_directory(made, error)) return made;
  }
  return {};
}

FileLock::FileLock(const fs::path& file, Kind kind) {
  const HANDLE opened =
      CreateFileW(file.c_str(), GENERIC_READ | GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
                  nullptr, OPEN_ALWAYS, FILE_ATTRIBUTE_NORMAL, nullptr);
  if (opened == INVALID_HANDLE_VALUE) return;
  OVERLAPPED whole{};
  const DWORD flags = LOCKFILE_FAIL_IMMEDIATELY | (kind == Kind::exclusive ? LOCKFILE_EXCLUSIVE_LOCK : 0);
  if (LockFileEx(opened, flags, 0, 1, 0, &whole)) {
    handle_ = reinterpret_cast<std::intptr_t>(opened);
  } else {
    CloseHandle(opened);
  }
}

FileLock::~FileLock() {
  if (handle_ != none) CloseHandle(reinterpret_cast<HANDLE>(handle_));
}

}  // namespace yolort::system
