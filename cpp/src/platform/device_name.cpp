#include "platform/device_name.h"

#include <algorithm>
#include <cctype>
#include <stdexcept>

namespace yolort {
namespace {

constexpr std::size_t max_digits = 4;

bool is_number(const std::string& text) {
  return !text.empty() && text.size() <= max_digits &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

std::string canonical_device(const std::string& device) {
  std::string name = device;
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  if (name.empty()) return "";
  if (is_number(name)) name = "cuda:" + name;
  const std::size_t mark = std::min(name.find_first_of(":."), name.size());
  std::string kind = name.substr(0, mark);
  if (kind == "gpu") kind = "cuda";
  const bool known = kind == "cpu" || kind == "cuda" || kind == "vulkan";
  if (!known && std::isalpha(static_cast<unsigned char>(name.front()))) return device;
  const bool numbered = mark < name.size();
  const std::string digits = numbered ? name.substr(mark + 1) : "0";
  if (!known || !is_number(digits) || (kind == "cpu" && std::stoi(digits) != 0)) {
    throw std::invalid_argument(
        "device is \"" + device +
        "\", expected one device: cpu, cuda, cuda:1 (or 0, 1: the number of a GPU), vulkan:0, or "
        "another device of the engine; yolort.devices(engine) lists the available devices");
  }
  if (kind == "cpu" || (kind == "vulkan" && !numbered)) return kind;
  return kind + ":" + std::to_string(std::stoi(digits));
}

int device_index(const std::string& device, const std::string& kind) {
  if (device == kind) return 0;
  if (device.compare(0, kind.size() + 1, kind + ":") != 0) return -1;
  const std::string index = device.substr(kind.size() + 1);
  return is_number(index) ? std::stoi(index) : -1;
}

}  // namespace yolort
