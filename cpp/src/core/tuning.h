// The fastest settings for a model on a machine, as measured by `yolort tune`; Detector uses them by default.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "model/model.h"

namespace yolort {

struct Tuning {
  std::string engine, device, precision;
  std::optional<int> threads;
  std::filesystem::path record;  ///< the path of the record
  std::string use;               ///< file name of a faster artifact beside it; empty: the model itself
};

/// Version of the record format that this library writes and reads; newer records are ignored.
inline constexpr int tuning_format = 1;

/// The processor and the number of cores that this process may use. A record is valid only for the same machine.
std::string machine();

/// Possible paths of a model's record; the first that exists is used. The record is <name>.tuned.json beside the model
/// or, if that folder is read-only, in the user's cache ($YOLORT_CACHE, $XDG_CACHE_HOME/yolort or ~/.cache/yolort).
std::vector<std::filesystem::path> tuning_paths(const std::string& model);

/// The record of a model for this machine; empty if there is none, or if it belongs to another machine, model or
/// format.
/// Throws ModelError if it is damaged.
std::optional<Tuning> find_tuning(const ModelSpec& spec);

}  // namespace yolort
