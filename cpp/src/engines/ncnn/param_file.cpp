#include "engines/ncnn/param_file.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <fstream>
#include <locale>
#include <sstream>
#include <utility>

#include "yolort/yolort.h"

namespace yolort::ncnn_graph {
namespace {

constexpr std::uintmax_t max_file_bytes = 1 << 20;
constexpr std::int64_t max_layers = 2000;  // ncnn recurses from layer to layer: this fits a stack of 512 KiB
constexpr std::size_t max_name = 255;      // length of a layer or blob name, as in ncnn

/// Splits at spaces, independent of the locale.
std::vector<std::string> split(const std::string& line, char also) {
  std::vector<std::string> words(1);
  for (const char c : line) {
    if (c != ' ' && c != also) {
      words.back() += c;
    } else if (also == ',' || !words.back().empty()) {
      words.emplace_back();
    }
  }
  if (words.back().empty()) words.pop_back();
  return words;
}

bool parse_whole(const std::string& text, std::int64_t& value) {
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && stop == end && value >= INT32_MIN && value <= INT32_MAX;
}

/// Whether ncnn reads it as a float: it has a point or an exponent.
bool parse_number(const std::string& text, bool& real, double& value) {
  std::int64_t whole = 0;
  real = text.find_first_of(".eE") != std::string::npos;
  if (text.empty() || text.size() > 64 || text.find_first_not_of("+-0123456789.eE") != std::string::npos) return false;
  if (!real && !parse_whole(text, whole)) return false;
  value = static_cast<double>(whole);
  if (!real) return true;
  std::istringstream stream(text);
  stream.imbue(std::locale::classic());
  return stream >> value && stream.peek() == std::char_traits<char>::eof();
}

/// "key=value", "key=a,b", "key=a," or the older "-23300-key=count,a,b"; only numbers.
void parse_parameter(Layer& layer, const std::string& word) {
  const std::size_t equals = std::min(word.find('='), word.size());
  std::int64_t key = 0;
  const std::string text = equals < word.size() ? word.substr(equals + 1) : "";
  bool valid = parse_whole(word.substr(0, equals), key) && !text.empty();
  Parameter parameter;
  const bool counted = key <= -23300;
  parameter.array = counted || text.find(',') != std::string::npos;
  for (const std::string& part : split(text, ',')) {
    const bool first = parameter.values.size() < (counted ? 2 : 1);
    bool real = false;
    double value = 0;
    valid = valid && parse_number(part, real, value) && (first || real == parameter.real);
    parameter.real = real;
    parameter.values.push_back(value);
  }
  if (!valid || parameter.values.empty()) fail(layer, "\"" + word.substr(0, 64) + "\" is not a parameter");
  if (counted) {
    if (parameter.values[0] != static_cast<double>(parameter.values.size() - 1)) {
      fail(layer, "an array parameter differs from its declared length");
    }
    parameter.values.erase(parameter.values.begin());
    key = -23300 - key;
  }
  if (key < 0 || key > 31) fail(layer, "a parameter key is out of range, expected 0 to 31");
  if (!layer.parameters.emplace(static_cast<int>(key), parameter).second) fail(layer, "a parameter occurs twice");
}

Layer parse_layer(const std::string& line) {
  if (std::any_of(line.begin(), line.end(), [](char c) { return c != '\t' && (c < ' ' || c > '~'); })) {
    throw ModelError("the .param has a character that is not printable ASCII");
  }
  const std::vector<std::string> words = split(line, '\t');
  Layer layer;
  std::int64_t bottoms = -1, tops = -1;
  layer.type = words[0].substr(0, max_name);
  if (words.size() > 1) layer.name = words[1].substr(0, max_name);
  if (words.size() < 4 || !parse_whole(words[2], bottoms) || !parse_whole(words[3], tops) || bottoms < 0 || tops < 0 ||
      std::any_of(words.begin(), words.end(), [](const std::string& word) { return word.size() > max_name; })) {
    fail(layer, "is not a line of a .param");
  }
  if (bottoms + tops > static_cast<std::int64_t>(words.size()) - 4) fail(layer, "ends before its inputs and outputs");
  const auto inputs = words.begin() + 4, outputs = inputs + bottoms, parameters = outputs + tops;
  layer.bottoms.assign(inputs, outputs);
  layer.tops.assign(outputs, parameters);
  for (auto word = parameters; word != words.end(); ++word) parse_parameter(layer, *word);
  return layer;
}

}  // namespace

[[noreturn]] void fail(const Layer& layer, const std::string& what) {
  throw ModelError("layer \"" + layer.name + "\" (" + layer.type + "): " + what);
}

void read_param(const std::filesystem::path& param, const std::function<void(const Layer&)>& add) {
  std::error_code error;
  if (std::filesystem::file_size(param, error) > max_file_bytes || error) {
    throw ModelError(param.filename().string() + " cannot be read or is larger than 1 MiB");
  }
  std::ifstream file(param, std::ios::binary);
  std::vector<std::string> words;  // of one line
  std::string line;
  const auto next = [&] {
    line.clear();
    const bool read = static_cast<bool>(std::getline(file, line));
    if (!line.empty() && line.back() == '\r') line.pop_back();
    words = split(line, '\t');
    return read;
  };
  std::int64_t layers = 0, blobs = 0;
  const bool magic = next() && words == std::vector<std::string>{"7767517"};
  if (!magic || !next() || words.size() != 2 || !parse_whole(words[0], layers) || !parse_whole(words[1], blobs) ||
      layers < 1) {
    throw ModelError(param.filename().string() + " is not an ncnn .param, or is damaged");
  }
  if (layers > max_layers) {
    throw ModelError(param.filename().string() + " has " + std::to_string(layers) + " layers, expected up to " +
                     std::to_string(max_layers));
  }
  std::int64_t count = 0, tops = 0;
  while (next()) {
    if (words.empty()) continue;
    const Layer layer = parse_layer(line);
    add(layer);
    tops += static_cast<std::int64_t>(layer.tops.size());
    ++count;
  }
  if (count != layers || tops != blobs) {
    throw ModelError(param.filename().string() + " has " + std::to_string(count) + " layers and " +
                     std::to_string(tops) + " blobs, but declares " + std::to_string(layers) + " and " +
                     std::to_string(blobs) + "; it is truncated or damaged");
  }
}

}  // namespace yolort::ncnn_graph
