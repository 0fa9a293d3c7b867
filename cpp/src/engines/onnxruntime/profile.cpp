#include "engines/onnxruntime/profile.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <istream>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "model/literal.h"
#include "platform/system.h"

namespace yolort::ort {
namespace {

constexpr std::string_view kernel = "_kernel_time";  ///< ends the name of an event that is the run of an operator

struct Event {
  std::string name, type;                ///< `type` of the operator; empty: a run of the whole model
  std::int64_t start = 0, duration = 0;  ///< microseconds
};

/// The event in a line of a trace, if it is the run of an operator or of the whole model.
std::optional<Event> read_event(std::string_view line) {
  const std::size_t end = line.find_last_of('}');
  if (line.empty() || line.front() != '{' || end == std::string_view::npos) return std::nullopt;
  Value value;
  try {
    value = parse_literal(line.substr(0, end + 1));
  } catch (const ParseError&) {
    return std::nullopt;
  }
  const auto text = [](const Value* of, std::string_view key) {
    const Value* found = of ? of->find(key) : nullptr;
    const std::string* out = found ? found->as<std::string>() : nullptr;
    return out ? *out : std::string();
  };
  const auto number = [&](std::string_view key) {
    const Value* found = value.find(key);
    const std::int64_t* out = found ? found->as<std::int64_t>() : nullptr;
    return out ? *out : 0;
  };
  Event event{text(&value, "name"), "", number("ts"), number("dur")};
  if (event.name == "model_run") return event;
  const std::size_t name = event.name.size() - std::min(kernel.size(), event.name.size());
  if (text(&value, "cat") != "Node" || event.name.substr(name) != kernel) return std::nullopt;
  event.name.resize(name);
  event.type = text(value.find("args"), "op_name");
  return event;
}

}  // namespace

TraceFolder::TraceFolder(std::string prefix) : prefix_(std::move(prefix)) {
  if (!prefix_.empty()) return;
  folder_ = system::make_temporary_folder();
  if (folder_.empty()) throw EngineError("engine \"onnxruntime\" cannot create a temporary folder for its trace");
  prefix_ = (folder_ / "trace").string();
}

TraceFolder::~TraceFolder() {
  std::error_code error;
  if (!folder_.empty()) std::filesystem::remove_all(folder_, error);
}

std::vector<LayerTime> mean_times(std::istream& trace) {
  std::vector<Event> events;
  std::vector<std::int64_t> runs;
  for (std::string line; std::getline(trace, line);) {
    const std::optional<Event> event = read_event(line);
    if (!event) continue;
    if (event->name == "model_run" && event->type.empty()) {
      runs.push_back(event->start);
    } else {
      events.push_back(*event);
    }
  }
  std::sort(runs.begin(), runs.end());
  const std::int64_t start = runs.size() > 1 ? runs[1] : 0;
  const double counted = runs.size() > 1 ? static_cast<double>(runs.size() - 1) : 1.0;
  std::vector<LayerTime> out;
  std::map<std::pair<std::string, std::string>, std::size_t> places;
  for (const Event& event : events) {
    if (event.start < start) continue;
    const auto [place, added] = places.try_emplace({event.name, event.type}, out.size());
    if (added) out.push_back({event.name, event.type, 0});
    out[place->second].ms += static_cast<double>(event.duration) / 1e3 / counted;
  }
  return out;
}

}  // namespace yolort::ort
