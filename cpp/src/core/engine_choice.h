// Which engine runs a model.
#pragma once

#include <map>
#include <string>

#include "core/engine.h"
#include "model/model.h"

namespace yolort {

/// Why engines that were tried could not load a model, by their names.
using EngineFailures = std::map<std::string, std::string>;

struct EngineChoice {
  EngineEntry entry;
  std::string why;  ///< a clause for the user
};

/// The requested engine (option, then $YOLORT_ENGINE). Otherwise, among the available engines that support the options,
/// the one the model was made for, or the fastest by measurement, or the one with the highest priority; never one of
/// `failures`. Throws EngineError or std::invalid_argument, naming the alternatives.
EngineChoice choose_engine(const ModelSpec& spec, const Options& options, const EngineFailures& failures = {});

/// The precision to ask an engine for, if the user asks for `asked`: that of the float layers, "fp32" for "int8" and
/// "bf16" for "int8+bf16"; "" for an engine that computes in the precision of the file. Throws std::invalid_argument
/// for other precisions.
std::string float_precision(const ModelSpec& spec, const EngineEntry& entry, const std::string& asked);

/// A line for each engine but `chosen`: whether it could run the model, and why not. Opens their libraries.
std::string explain_others(const ModelSpec& spec, const std::string& chosen, const EngineFailures& failures);

}  // namespace yolort
