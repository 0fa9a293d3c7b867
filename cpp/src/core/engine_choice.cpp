#include "core/engine_choice.h"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <tuple>
#include <vector>

#include "platform/processor.h"

namespace yolort {
namespace {

/// The fastest engine, as measured in docs/benchmarks/engines.md, for files that several engines read. The first
/// matching rule is used.
struct Rule {
  bool (*applies)(const ModelSpec&);
  const char *engine, *why;
};
constexpr Rule rules[] = {
    {[](const ModelSpec& spec) { return spec.layout.task == Task::classify && spec.precision != "int8"; },
     "onnxruntime", "the fastest for classifiers in ONNX"},
    {[](const ModelSpec&) { return is_x86 && has_bf16_arithmetic(); }, "openvino",
     "the fastest for ONNX on x86 with bf16 instructions"},
    {[](const ModelSpec& spec) { return is_x86 && spec.precision == "int8"; }, "openvino",
     "the fastest for INT8 on x86"},
    {[](const ModelSpec& spec) { return is_x86 && spec.layout.head != Head::raw; }, "openvino",
     "the fastest on x86 for graphs as Ultralytics writes them"},
    {[](const ModelSpec&) { return true; }, "onnxruntime", "the fastest for ONNX on this processor"},
};

/// Higher than the priorities of the engines named in the rules, lower than that of an engine with its own file format.
constexpr int preferred_priority = 45;

const Rule* rule_for(const ModelSpec& spec, const Options& options) {
  const bool on_cpu = options.device.empty() || options.device == "cpu";
  if (spec.format != Format::onnx || !on_cpu) return nullptr;
  return std::find_if(std::begin(rules), std::end(rules), [&](const Rule& rule) { return rule.applies(spec); });
}

bool reads(const EngineEntry& entry, const ModelSpec& spec) {
  return entry.accepts(spec) && (spec.contents.empty() || entry.reads_memory);
}

std::string file_precision(const ModelSpec& spec) { return spec.precision.empty() ? "fp32" : spec.precision; }

/// An engine that computes in the precision of the file cannot use a lower one; fp32 is always allowed.
bool is_as_written(const ModelSpec& spec, const std::string& asked) {
  return asked == file_precision(spec) || asked == "fp32";
}

/// Whether the engine supports the requested options.
bool can_do(const EngineEntry& entry, const ModelSpec& spec, const Options& options) {
  if (!options.engine_options.empty() && !entry.takes_options) return false;
  return !entry.computes_as_written || options.precision.empty() || is_as_written(spec, options.precision);
}

struct Wanted {
  std::string name, source;
};

/// The requested engine; empty if none was requested.
Wanted wanted_engine(const Options& options) {
  if (!options.engine.empty()) return {options.engine, "engine"};
  const char* forced = std::getenv("YOLORT_ENGINE");
  return {forced ? forced : "", "YOLORT_ENGINE"};
}

std::string joined(const std::string& list, const std::string& word) {
  return list.empty() ? word : list + ", " + word;
}

[[noreturn]] void refuse(const ModelSpec& spec, const std::vector<EngineEntry>& entries, const Wanted& wanted) {
  std::string available, known, refusals;
  for (const EngineEntry& entry : entries) {
    known = joined(known, entry.name);
    const std::string reason = entry.unavailable();
    const bool fits = reads(entry, spec);
    if (reason.empty() && fits) available = joined(available, entry.name);
    const std::string unread = entry.accepts(spec) ? "it reads no model in memory" : "it does not read this format";
    const std::string why = reason.empty() ? unread : reason;
    if (entry.name == wanted.name) {
      refusals = "cannot run model \"" + spec.path + "\" here: " + why;
    } else if (wanted.name.empty() && fits) {
      refusals += "\n  " + entry.name + ": " + why;
    }
  }
  if (available.empty()) available = "none";
  if (!wanted.name.empty() && refusals.empty()) {
    throw std::invalid_argument(wanted.source + " \"" + wanted.name + "\" is unknown; engines are: " + known);
  }
  if (!wanted.name.empty()) {
    throw EngineError("engine \"" + wanted.name + "\" " + refusals + ". Available for it: " + available);
  }
  throw EngineError("no engine here can run model \"" + spec.path + "\"" +
                    (refusals.empty() ? "; yolort.engines() lists them" : ":" + refusals));
}

}  // namespace

EngineChoice choose_engine(const ModelSpec& spec, const Options& options, const EngineFailures& failures) {
  std::vector<EngineEntry> entries = all_engines();
  const auto can_run = [&](const EngineEntry& entry) {  // last, because unavailable() may open a library
    return !failures.count(entry.name) && reads(entry, spec) && entry.unavailable().empty();
  };
  const Wanted wanted = wanted_engine(options);
  if (!wanted.name.empty()) {
    for (const EngineEntry& entry : entries) {
      if (entry.name == wanted.name && can_run(entry)) return {entry, wanted.source + " asks for it"};
    }
    refuse(spec, entries, wanted);
  }

  const Rule* rule = rule_for(spec, options);
  // An INT8 model runs on every engine that reads it, but is fast only on its target engine.
  const auto rank = [&](const EngineEntry& entry) {
    return std::tuple(can_do(entry, spec, options), entry.name == spec.engine,
                      rule && entry.name == rule->engine ? preferred_priority : entry.priority);
  };
  std::stable_sort(entries.begin(), entries.end(), [&](const auto& a, const auto& b) { return rank(a) > rank(b); });
  for (const EngineEntry& entry : entries) {
    if (!can_run(entry)) continue;
    const auto readers =
        std::count_if(entries.begin(), entries.end(), [&](const auto& one) { return reads(one, spec); });
    const std::string why = entry.name == spec.engine            ? "the model was made for it"
                            : rule && entry.name == rule->engine ? rule->why
                            : readers == 1                       ? "the only engine that reads " + to_text(spec.format)
                                                                 : "the first that is available";
    return {entry, why};
  }
  refuse(spec, entries, wanted);
}

std::string float_precision(const ModelSpec& spec, const EngineEntry& entry, const std::string& asked) {
  const std::string held = file_precision(spec);
  if (entry.computes_as_written) {
    if (asked.empty() || is_as_written(spec, asked)) return {};
    throw std::invalid_argument("precision \"" + asked + "\": " + entry.name +
                                " computes in the precision of the file, " + held +
                                "; export the model in that precision");
  }
  if (asked.rfind("int8", 0) != 0) return asked;
  if (held != "int8") {
    throw std::invalid_argument("precision \"" + asked + "\": model \"" + spec.path +
                                "\" is not an INT8 model; create one with yolort quantize");
  }
  return asked == "int8" ? "fp32" : asked.substr(asked.find('+') + 1);
}

std::string explain_others(const ModelSpec& spec, const std::string& chosen, const EngineFailures& failures) {
  std::string out;
  for (const EngineEntry& entry : all_engines()) {
    if (entry.name == chosen) continue;
    const auto failed = failures.find(entry.name);
    const std::string reason = failed != failures.end() ? failed->second
                               : entry.accepts(spec)    ? entry.unavailable()
                                                        : "does not read " + to_text(spec.format);
    out += "\n" + entry.name + ": " + (reason.empty() ? "could run it, too" : reason);
  }
  return out;
}

}  // namespace yolort
