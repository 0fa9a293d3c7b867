// Which engine runs a model.
#pragma once

#include <map>
#include <string>

#include "core/engine.h"
#include "model/model.h"

namespace yolort {

/// For each engine that failed to load a model: its name and the reason.
using EngineFailures = std::map<std::string, std::string>;

struct EngineChoice {
  EngineEntry entry;
  std::string why;  ///< a clause for the user
};

/// The requested engine (option, then $YOLORT_ENGINE). Otherwise, among the available engines that support the options,
/// the one the model was made for, or the fastest by measurement, or the one with the highest priority; never one of
/// `failures`. Throws EngineError or std::invalid_argument, naming the alternatives.
EngineChoice choose_engine(const ModelSpec& spec, const Options& options, const EngineFailures& failures = {});

/// Translates the user's precision `asked` to the precision of the float layers that an engine is opened with: "fp32"
/// for "int8", "bf16" for "int8+bf16", and "" for an engine that uses the file's precision. Throws
/// std::invalid_argument
/// for other precisions.
std::string float_precision(const ModelSpec& spec, const EngineEntry& entry, const std::string& asked);

/// One line per engine except `chosen`: whether it could run the model, and if not, why. Opens their libraries.
std::string explain_others(const ModelSpec& spec, const std::string& chosen, const EngineFailures& failures);

}  // namespace yolort
