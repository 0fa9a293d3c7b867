// Which engine runs a model.
#pragma once

#include <set>
#include <string>

#include "core/engine.h"
#include "model/model.h"

namespace yolort {

struct EngineChoice {
  EngineEntry entry;
  std::string why;  ///< a clause for the user
};

/// The engine that is asked for (option, then $YOLORT_ENGINE); otherwise, of those available that can do what else is
/// asked for, the one the model was made for, or the fastest by measurement, or the one with the highest priority.
/// Not one of `tried`, which failed. Throws EngineError or std::invalid_argument, naming the alternatives.
EngineChoice choose_engine(const ModelSpec& spec, const Options& options, const std::set<std::string>& tried = {});

/// What of a file's precision an engine can be asked for: "fp32" of "int8", "bf16" of "int8+bf16", "" of what an engine
/// does anyway. Throws std::invalid_argument for what the file does not hold.
std::string float_precision(const ModelSpec& spec, const EngineEntry& entry, const std::string& asked);

/// A line for each engine but `chosen`: whether it could run the model, and why not. Opens their libraries.
std::string explain_others(const ModelSpec& spec, const std::string& chosen);

}  // namespace yolort
