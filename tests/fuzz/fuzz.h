// Shared by the fuzz targets: reads numbers from the fuzzer's bytes, and writes the bytes to files.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <type_traits>

/// One run on arbitrary bytes. It must not throw, crash, or use more memory than a model may.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace fuzz {

/// Reads the fuzzer's bytes from the front; returns zeros once they are used up.
class Bytes {
 public:
  Bytes(const std::uint8_t* data, std::size_t size) : rest_(reinterpret_cast<const char*>(data), size) {}

  template <class T>
  T take() {
    static_assert(std::is_arithmetic_v<T>);
    T out{};
    std::memcpy(&out, rest_.data(), rest_.size() < sizeof out ? rest_.size() : sizeof out);
    rest_.remove_prefix(rest_.size() < sizeof out ? rest_.size() : sizeof out);
    return out;
  }
  /// From `least` to `most`.
  int within(int least, int most) {
    return least + static_cast<int>(take<std::uint32_t>() % (static_cast<unsigned>(most - least) + 1));
  }
  bool flag() { return take<std::uint8_t>() & 1; }
  /// Bytes up to a zero byte, which is consumed, too.
  std::string_view text() {
    const std::string_view out = rest_.substr(0, rest_.find('\0'));
    rest_.remove_prefix(out.size() + (out.size() < rest_.size()));
    return out;
  }
  std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_;
};

/// A folder that exists as long as the process, in memory if possible.
class Folder {
 public:
  Folder() {
    const std::filesystem::path memory = "/dev/shm";
    path_ = std::filesystem::is_directory(memory) ? memory : std::filesystem::temp_directory_path();
    path_ /= "yolort_fuzz_" + std::to_string(getpid());
    std::filesystem::create_directories(path_);
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::filesystem::path write(const std::string& name, std::string_view bytes) const {
    const std::filesystem::path path = path_ / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    return path;
  }

 private:
  std::filesystem::path path_;
};

}  // namespace fuzz
