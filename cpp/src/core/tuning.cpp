#include "core/tuning.h"

#include <cstdint>
#include <fstream>
#include <thread>

#include "core/engine.h"
#include "model/literal.h"
#include "platform/cache_folder.h"
#include "platform/text_file.h"

namespace yolort {
namespace {

namespace fs = std::filesystem;

constexpr std::uintmax_t max_record_bytes = 1 << 20;

[[noreturn]] void damaged(const fs::path& path, const std::string& what) {
  throw ModelError("tuning record " + path.string() + " is damaged (" + what + "); delete it or run yolort tune again");
}

/// The value of a required key; `T` is std::string or std::int64_t.
template <class T>
T required(const fs::path& path, const Value& record, const char* key) {
  const Value* value = record.find(key);
  const T* out = value ? value->as<T>() : nullptr;
  if (!out) damaged(path, std::string("no '") + key + "', or of another type");
  return *out;
}

}  // namespace

std::string machine() {
  std::ifstream file("/proc/cpuinfo");
  std::string line, name, part;
  while (name.empty() && std::getline(file, line)) {
    const std::size_t colon = line.find(": ");
    if (colon == std::string::npos) continue;
    if (line.rfind("model name", 0) == 0) name = line.substr(colon + 2);
    if (line.rfind("CPU implementer", 0) == 0 || line.rfind("CPU part", 0) == 0) part += " " + line.substr(colon + 2);
    if (line.rfind("CPU part", 0) == 0) name = "ARM" + part;
  }
  if (name.empty()) name = "unknown processor";
  return name + ", " + std::to_string(std::max(std::thread::hardware_concurrency(), 1u)) + " cores";
}

std::vector<fs::path> tuning_paths(const std::string& model) {
  std::error_code error;
  fs::path path = fs::weakly_canonical(fs::absolute(model, error), error);
  if (!path.has_filename()) path = path.parent_path();
  std::vector<fs::path> out = {fs::path(path) += ".tuned.json"};
  if (const fs::path cache = cache_folder(); !cache.empty()) {
    out.push_back(cache / "tuned" / (path.filename().string() + "-" + short_digest(path.string()) + ".json"));
  }
  return out;
}

std::optional<Tuning> find_tuning(const ModelSpec& spec) {
  std::error_code error;
  fs::path path;
  for (const fs::path& place : tuning_paths(spec.path)) {
    if (path.empty() && fs::is_regular_file(place, error)) path = place;
  }
  if (path.empty()) return std::nullopt;
  const std::optional<std::string> text = read_text(path, max_record_bytes);
  if (!text) damaged(path, "cannot be read, or larger than 1 MiB");
  Value record;
  try {
    record = parse_literal(*text);
  } catch (const ParseError& what) {
    damaged(path, what.what());
  }
  if (required<std::int64_t>(path, record, "format") > tuning_format) return std::nullopt;
  if (required<std::string>(path, record, "machine") != machine()) return std::nullopt;
  if (static_cast<std::uintmax_t>(required<std::int64_t>(path, record, "bytes")) != model_bytes(spec)) {
    return std::nullopt;
  }
  Tuning out;
  out.record = path;
  out.engine = required<std::string>(path, record, "engine");
  out.device = required<std::string>(path, record, "device");
  out.precision = required<std::string>(path, record, "precision");
  if (!out.precision.empty() && out.precision != "fp32" && out.precision != "fp16" && out.precision != "bf16") {
    damaged(path, "precision");
  }
  out.use = required<std::string>(path, record, "use");
  const std::int64_t threads = required<std::int64_t>(path, record, "threads");
  if (threads < 1 || threads > max_threads()) damaged(path, "threads");
  out.threads = static_cast<int>(threads);
  if (out.use.find_first_of(std::string("/\0", 2)) != std::string::npos || out.use == "." || out.use == "..") {
    damaged(path, "'use' is not the name of a file in the same folder");
  }
  return out;
}

}  // namespace yolort
