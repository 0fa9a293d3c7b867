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
  std::string use;               ///< name of another artifact of the same model, beside it; empty: the model itself
};

/// Layout of the record that this library writes and reads; a newer one is ignored.
inline constexpr int tuning_format = 1;

/// The processor and the number of cores that this process may use. A record is valid only for the same machine.
std::string machine();

/// Paths of the record of a model; the first that exists counts. It is beside the model as <name>.tuned.json or, for a
/// folder that cannot be written, in the user's cache ($YOLORT_CACHE, $XDG_CACHE_HOME/yolort or ~/.cache/yolort).
std::vector<std::filesystem::path> tuning_paths(const std::string& model);

/// The record of a model for this machine; nothing if there is none, or if it is for another machine, model or format.
/// Throws ModelError if it is damaged.
std::optional<Tuning> find_tuning(const ModelSpec& spec);

}  // namespace yolort
