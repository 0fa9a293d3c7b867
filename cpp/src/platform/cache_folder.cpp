#include "platform/cache_folder.h"

#include <cstdint>
#include <cstdlib>
#include <sstream>

namespace yolort {

namespace fs = std::filesystem;

fs::path cache_folder() {
  const auto from = [](const char* name) {
    const char* value = std::getenv(name);
    return value && *value ? fs::path(value) : fs::path();
  };
  if (const fs::path own = from("YOLORT_CACHE"); !own.empty()) return own;
  if (const fs::path xdg = from("XDG_CACHE_HOME"); !xdg.empty()) return xdg / "yolort";
  if (const fs::path home = from("HOME"); !home.empty()) return home / ".cache" / "yolort";
  return {};
}

std::string short_digest(const std::string& text) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  std::ostringstream out;
  out << std::hex << hash;
  return out.str();
}

}  // namespace yolort
