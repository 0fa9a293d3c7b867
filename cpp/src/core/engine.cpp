#include "core/engine.h"

#include <algorithm>
#include <mutex>

#include "platform/processor.h"

namespace yolort {
namespace {

struct Registry {
  std::mutex mutex;
  std::vector<EngineEntry> entries = builtin_engines();

  void sort() {
    std::stable_sort(entries.begin(), entries.end(),
                     [](const EngineEntry& a, const EngineEntry& b) { return a.priority > b.priority; });
  }
};

Registry& registry() {
  static Registry instance;
  return instance;
}

}  // namespace

/// A copy: an entry may call back into Python, which must not happen under the lock.
std::vector<EngineEntry> all_engines() {
  Registry& all = registry();
  std::lock_guard lock(all.mutex);
  all.sort();
  return all.entries;
}

void register_engine(EngineEntry entry) {
  Registry& all = registry();
  std::lock_guard lock(all.mutex);
  auto same = std::find_if(all.entries.begin(), all.entries.end(),
                           [&](const EngineEntry& other) { return other.name == entry.name; });
  if (same != all.entries.end()) {
    *same = std::move(entry);
  } else {
    all.entries.push_back(std::move(entry));
  }
}

void unregister_engine(const std::string& name) {
  Registry& all = registry();
  std::lock_guard lock(all.mutex);
  all.entries.erase(std::remove_if(all.entries.begin(), all.entries.end(),
                                   [&](const EngineEntry& entry) { return entry.name == name; }),
                    all.entries.end());
}

EngineEntry unavailable_engine(const std::string& name, Format format, const std::string& reason) {
  EngineEntry entry;
  entry.name = name;
  entry.unavailable = [reason] { return reason; };
  entry.accepts = [format](const ModelSpec& spec) { return spec.format == format; };
  entry.load = [reason](const ModelSpec&, const Options&) -> std::unique_ptr<Engine> { throw EngineError(reason); };
  return entry;
}

int max_threads() { return 4 * available_cores(); }

std::vector<EngineStatus> engines() {
  std::vector<EngineStatus> out;
  for (const EngineEntry& entry : all_engines()) {
    const std::string reason = entry.unavailable();
    const EngineLibrary library = reason.empty() && entry.library ? entry.library() : EngineLibrary();
    out.push_back({entry.name, reason.empty(), reason, library.version, library.path});
  }
  return out;
}

std::vector<std::string> devices(const std::string& engine) {
  for (const EngineEntry& entry : all_engines()) {
    if (entry.name != engine) continue;
    if (std::string reason = entry.unavailable(); !reason.empty())
      throw EngineError("engine \"" + engine + "\": " + reason);
    return entry.devices ? entry.devices() : std::vector<std::string>{"cpu"};
  }
  throw std::invalid_argument("engine \"" + engine + "\" is not known; yolort.engines() lists them");
}

}  // namespace yolort
