#include "platform/warning.h"

#include <mutex>
#include <utility>

namespace yolort {
namespace {

std::mutex mutex;
std::function<void(const std::string&)>& current() {
  static auto* const handler = new std::function<void(const std::string&)>;  // never destroyed: may hold Python objects
  return *handler;
}

}  // namespace

void warn(const std::string& text) {
  std::function<void(const std::string&)> handler;
  {
    std::lock_guard lock(mutex);
    handler = current();
  }
  if (handler) handler(text);
}

void set_warning_handler(std::function<void(const std::string&)> handler) {
  std::lock_guard lock(mutex);
  current() = std::move(handler);
}

}  // namespace yolort
