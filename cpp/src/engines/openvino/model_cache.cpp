#include "engines/openvino/model_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <thread>
#include <vector>

#include "platform/cache_folder.h"

namespace yolort::openvino {
namespace {

namespace fs = std::filesystem;

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

/// Makes the folder. False if it is not ours, or others may write to it: what is kept there is trusted when it is read.
bool make_private(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder.parent_path(), error);
  ::mkdir(folder.c_str(), S_IRWXU);
  struct stat found{};
  return ::stat(folder.c_str(), &found) == 0 && S_ISDIR(found.st_mode) && found.st_uid == ::geteuid() &&
         !(found.st_mode & (S_IWGRP | S_IWOTH)) && ::access(folder.c_str(), W_OK) == 0;
}

bool holds_model(const fs::path& folder) {
  std::error_code error;
  return std::any_of(fs::directory_iterator(folder, error), fs::directory_iterator{},
                     [](const auto& entry) { return entry.path().extension() == ".blob"; });
}

/// A descriptor that holds the lock of a folder, LOCK_EX or LOCK_SH; -1 if others hold it for longer than `wait`.
int lock(const fs::path& folder, int kind, std::chrono::steady_clock::duration wait) {
  const int file = ::open((folder / lock_name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, S_IRUSR | S_IWUSR);
  if (file < 0) return -1;
  const auto end = std::chrono::steady_clock::now() + wait;
  while (::flock(file, kind | LOCK_NB) != 0) {
    if (std::chrono::steady_clock::now() >= end) {
      ::close(file);
      return -1;
    }
    std::this_thread::sleep_for(between_tries);
  }
  return file;
}

/// Removes the folders of models that were not loaded for the longest time. A model that runs from a removed file
/// keeps it.
void prune(const fs::path& root) {
  std::error_code error;
  std::vector<std::pair<fs::file_time_type, fs::path>> models;
  for (const auto& entry : fs::directory_iterator(root, error)) {
    const auto used = fs::last_write_time(entry.path() / lock_name, error);
    if (!error) models.emplace_back(used, entry.path());
  }
  std::sort(models.rbegin(), models.rend());
  for (std::size_t i = max_models; i < models.size(); ++i) {
    const int held = lock(models[i].second, LOCK_EX, {});
    if (held < 0) continue;
    fs::remove_all(models[i].second, error);
    ::close(held);
  }
}

}  // namespace

ModelCache::ModelCache(const std::string& identity) {
  const fs::path all = root();
  if (all.empty() || !make_private(all)) return;
  const fs::path folder = all / short_digest(identity);
  std::error_code error;
  const bool known = fs::exists(folder, error);
  if (!make_private(folder)) return;
  lock_ = lock(folder, holds_model(folder) ? LOCK_SH : LOCK_EX, max_wait);
  if (lock_ < 0) return;
  ::futimens(lock_, nullptr);  // it is used now
  folder_ = folder;
  if (!known) prune(all);
}

ModelCache::~ModelCache() {
  if (lock_ >= 0) ::close(lock_);
}

}  // namespace yolort::openvino
