// What `yolort tune` measured to be fastest for a model on a machine, and Detector then takes by default.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "model.h"

namespace yolort {

struct Tuning {
  std::string engine, device, precision;
  std::optional<int> threads;
  std::filesystem::path record;  ///< where it stands
  std::string use;               ///< name of another artefact of the same model, beside it; empty: the model itself
};

/// Layout of the record that this library writes and reads; a newer one is ignored.
inline constexpr int tuning_format = 1;

/// The processor and the cores this process may use: a record holds where this is the same.
std::string machine();

/// Where the record of a model may lie, the first that exists counts: beside it as <name>.tuned.json, and in the user's
/// cache ($YOLORT_CACHE, $XDG_CACHE_HOME/yolort or ~/.cache/yolort) for a folder that cannot be written.
std::vector<std::filesystem::path> tuning_paths(const std::string& model);

/// Bytes of the files the model consists of, by which a record knows that it is of another model.
std::uintmax_t model_bytes(const ModelSpec& spec);

/// The record of a model for this machine; none where there is none, or it is of another machine, model or format.
/// Throws ModelError where it is damaged.
std::optional<Tuning> find_tuning(const ModelSpec& spec);

}  // namespace yolort
