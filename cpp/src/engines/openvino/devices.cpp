#include "engines/openvino/devices.h"

#include <algorithm>
#include <cctype>
#include <sstream>

#include "platform/device_name.h"

namespace yolort::openvino {
namespace {

struct Precision {
  const char *name, *hint, *capability;
};
constexpr Precision precisions[] = {{"fp32", "f32", "FP32"}, {"bf16", "bf16", "BF16"}, {"fp16", "f16", "FP16"}};

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ", ") + word;
  return out;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> out;
  std::istringstream in(text);
  for (std::string word; std::getline(in, word, separator);) {
    if (!word.empty()) out.push_back(word);
  }
  return out;
}

std::string changed_case(std::string text, int (*change)(int)) {
  std::transform(text.begin(), text.end(), text.begin(), [&](unsigned char c) { return change(c); });
  return text;
}

/// "GPU" of "GPU.1".
std::string kind_of(const std::string& name) { return name.substr(0, name.find('.')); }

}  // namespace

std::string device_name(const std::string& device, const std::function<std::vector<std::string>()>& available) {
  if (device.empty() || device == "cpu") return "CPU";
  const std::vector<std::string> here = available();
  if (const int index = device_index(device, "cuda"); index >= 0) {
    std::vector<std::string> gpus;
    std::copy_if(here.begin(), here.end(), std::back_inserter(gpus), [](auto& one) { return kind_of(one) == "GPU"; });
    if (static_cast<std::size_t>(index) < gpus.size()) return gpus[static_cast<std::size_t>(index)];
    throw EngineError("device \"" + device + "\": OpenVINO has " + std::to_string(gpus.size()) +
                      " GPU(s) here; yolort.devices(\"openvino\") lists them");
  }
  const std::string name = changed_case(device, std::toupper);
  const std::string first = name.substr(0, name.find(':'));
  std::vector<std::string> parts = {name};
  if (first == "AUTO" || first == "HETERO") parts = split(name.substr(std::min(first.size() + 1, name.size())), ',');
  for (const std::string& part : parts) {
    const std::string kind = kind_of(part.front() == '-' ? part.substr(1) : part);  // AUTO:-CPU excludes the CPU
    if (std::none_of(here.begin(), here.end(), [&](auto& one) { return kind_of(one) == kind; })) {
      throw EngineError("device \"" + device + "\" is not available in OpenVINO here; expected one of: " +
                        joined(here) + ", AUTO, HETERO:" + joined(here));
    }
  }
  return name;
}

std::string precision_hint(const std::string& precision) {
  std::vector<std::string> names;
  for (const Precision& known : precisions) {
    if (known.name == precision) return known.hint;
    names.push_back(known.name);
  }
  throw std::invalid_argument("precision \"" + precision +
                              "\" is not supported by openvino; expected one of: " + joined(names));
}

std::vector<std::string> settings_for(const Options& options, const std::string& device, int cores) {
  std::vector<std::string> out = {"PERFORMANCE_HINT", "LATENCY", "INFERENCE_PRECISION_HINT",
                                  precision_hint(options.precision.empty() ? "fp32" : options.precision)};
  if (options.profile) out.insert(out.end(), {"PERF_COUNT", "YES"});
  if (options.threads && device == "CPU") {  // so that clones run side by side, each on this many cores
    const int streams = std::max(cores / *options.threads, 1);
    out.insert(out.end(), {"NUM_STREAMS", std::to_string(streams)});
    out.insert(out.end(), {"INFERENCE_NUM_THREADS", std::to_string(*options.threads * streams)});
  }
  return out;
}

std::vector<std::string> precisions_in(const std::string& capabilities) {
  const std::vector<std::string> words = split(capabilities, ' ');
  std::vector<std::string> out = {"fp32"};
  for (const Precision& known : precisions) {
    const bool able = std::find(words.begin(), words.end(), known.capability) != words.end();
    if (able && out.front() != known.name) out.push_back(known.name);
  }
  return out;
}

std::string precision_that_runs(const std::string& asked, const std::string& devices, const std::string& hint,
                                const std::function<std::string(const std::string&)>& capabilities) {
  for (std::string device : split(devices, ' ')) {
    if (device.front() == '(') device = device.substr(1, device.size() - 2);  // while another is being prepared
    const std::vector<std::string> able = precisions_in(capabilities(device));
    if (std::find(able.begin(), able.end(), asked) != able.end()) continue;
    throw EngineError("engine \"openvino\" cannot compute in " + asked + " on " + changed_case(device, std::tolower) +
                      "; supported here: " + joined(able));
  }
  if (hint.empty()) return asked;  // AUTO does not report it
  for (const Precision& known : precisions) {
    if (hint == known.hint) return known.name;
  }
  return hint;
}

}  // namespace yolort::openvino
