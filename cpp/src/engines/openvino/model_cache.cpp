#include "engines/openvino/model_cache.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <thread>
#include <vector>

#include "platform/cache_folder.h"

namespace yolort::openvino {
namespace {

namespace fs = std::filesystem;
using system::FileLock;

constexpr std::size_t max_models = 32;
constexpr auto max_wait = std::chrono::seconds(5);
constexpr auto between_tries = std::chrono::milliseconds(20);
constexpr const char* lock_name = "lock";

fs::path root() {
  const char* given = std::getenv("YOLORT_OPENVINO_CACHE");
  if (given && *given) return std::string(given) == "off" ? fs::path() : fs::path(given);
  const fs::path folder = cache_folder();
  return folder.empty() ? folder : folder / "openvino";
}

bool holds_model(const fs::path& folder) {
  std::error_code error;
  return std::any_of(fs::directory_iterator(folder, error), fs::directory_iterator{},
                     [](const auto& entry) { return entry.path().extension() == ".blob"; });
}

/// A lock on a folder. Not acquired if others hold it for longer than `wait`.
FileLock lock(const fs::path& folder, FileLock::Kind kind, std::chrono::steady_clock::duration wait) {
  const auto end = std::chrono::steady_clock::now() + wait;
  while (true) {
    if (FileLock held(folder / lock_name, kind); held || std::chrono::steady_clock::now() >= end) return held;
    std::this_thread::sleep_for(between_tries);
  }
}

/// Removes the folders of the least recently loaded models. A running model keeps the file it was loaded from.
void prune(const fs::path& root) {
  std::error_code error;
  std::vector<std::pair<fs::file_time_type, fs::path>> models;
  for (const auto& entry : fs::directory_iterator(root, error)) {
    const auto used = fs::last_write_time(entry.path() / lock_name, error);
    if (!error) models.emplace_back(used, entry.path());
  }
  std::sort(models.rbegin(), models.rend());
  for (std::size_t i = max_models; i < models.size(); ++i) {
    if (const FileLock held = lock(models[i].second, FileLock::Kind::exclusive, {})) {
      fs::remove_all(models[i].second, error);
    }
  }
}

}  // namespace

ModelCache::ModelCache(const std::string& identity) {
  const fs::path all = root();
  if (all.empty() || !system::make_private_folder(all)) return;
  const fs::path folder = all / short_digest(identity);
  std::error_code error;
  const bool known = fs::exists(folder, error);
  if (!system::make_private_folder(folder)) return;
  lock_ = lock(folder, holds_model(folder) ? FileLock::Kind::shared : FileLock::Kind::exclusive, max_wait);
  if (!lock_) return;
  fs::last_write_time(folder / lock_name, fs::file_time_type::clock::now(), error);  // marks it as used now
  folder_ = folder;
  if (!known) prune(all);
}

}  // namespace yolort::openvino
