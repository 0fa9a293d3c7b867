#include "model.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <fstream>

#include "value.h"

namespace fs = std::filesystem;

namespace yolort {
namespace {

constexpr std::size_t max_metadata_bytes = 1 << 20;
constexpr std::int64_t max_classes = 65536;
constexpr std::size_t max_name_bytes = 1024;
constexpr int max_onnx_fields = 1 << 16;  ///< of a ModelProto; an export has about 20

[[noreturn]] void fail(const ModelSpec& spec, const std::string& what) {
  throw ModelError("model \"" + spec.given + "\": " + what);
}

// ---- ONNX: the protobuf fields of ModelProto that matter (onnx.proto: graph = 7, metadata_props = 14) ----

/// Reads a file's protobuf fields without loading the weights.
class ProtobufFile {
 public:
  ProtobufFile(const fs::path& path, const ModelSpec& spec) : file_(path, std::ios::binary), spec_(spec) {
    std::error_code error;
    size_ = fs::file_size(path, error);
    if (!file_ || error) throw ModelError("model \"" + spec.given + "\": cannot be read");
  }

  bool done() const { return at_ >= size_; }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      int byte = file_.get();
      if (byte == std::char_traits<char>::eof()) truncated();
      ++at_;
      value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if (!(byte & 0x80)) return value;
    }
    truncated();
  }
  std::string bytes(std::uint64_t length) {
    if (length > size_ - at_) truncated();
    if (length > max_metadata_bytes) fail(spec_, "a metadata entry is larger than 1 MiB");
    std::string out(length, '\0');
    file_.read(out.data(), static_cast<std::streamsize>(length));
    if (!file_) truncated();
    at_ += length;
    return out;
  }
  void skip(std::uint64_t length) {
    if (length > size_ - at_) truncated();
    at_ += length;
    file_.seekg(static_cast<std::streamoff>(at_));
  }
  [[noreturn]] void truncated() const { fail(spec_, "not an ONNX file, or a truncated one; export it again"); }

 private:
  std::ifstream file_;
  const ModelSpec& spec_;
  std::uint64_t size_ = 0, at_ = 0;
};

/// A length-delimited field of an in-memory message, as (field, bytes); anything else ends the walk.
std::string string_field(const std::string& message, int wanted) {
  std::size_t at = 0;
  while (at < message.size()) {
    unsigned tag = static_cast<unsigned char>(message[at++]);
    std::uint64_t length = 0;
    for (int shift = 0; shift < 64 && at < message.size(); shift += 7) {
      auto byte = static_cast<unsigned char>(message[at++]);
      length |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if (!(byte & 0x80)) break;
    }
    if ((tag & 7) != 2 || length > message.size() - at) break;
    if (static_cast<int>(tag >> 3) == wanted) return message.substr(at, length);
    at += length;
  }
  return {};
}

Dict read_onnx_metadata(const ModelSpec& spec) {
  ProtobufFile file(spec.graph, spec);
  Dict metadata;
  std::size_t total = 0;
  bool graph = false;
  for (int fields = 0; !file.done(); ++fields) {
    const std::uint64_t tag = file.varint();
    const std::uint64_t field = tag >> 3;
    if (field == 0 || fields > max_onnx_fields) file.truncated();
    switch (tag & 7) {
      case 0: file.varint(); break;
      case 1: file.skip(8); break;
      case 5: file.skip(4); break;
      case 2: {
        std::uint64_t length = file.varint();
        if (field != 14) {
          graph |= field == 7;
          file.skip(length);
          break;
        }
        std::string entry = file.bytes(length);
        total += entry.size();
        if (total > max_metadata_bytes) fail(spec, "the metadata is larger than 1 MiB");
        metadata.emplace_back(Value{string_field(entry, 1)}, Value{string_field(entry, 2)});
        break;
      }
      default: file.truncated();
    }
  }
  if (!graph) file.truncated();
  return metadata;
}

// ---- the header that Ultralytics and yolort write before a TensorRT plan: int32 N, N bytes of JSON ----

/// A file without one is a bare plan, which starts at 0.
Dict read_plan_header(ModelSpec& spec) {
  std::ifstream file(spec.graph, std::ios::binary);
  std::error_code error;
  const std::uintmax_t size = fs::file_size(spec.graph, error);
  unsigned char start[5] = {};
  file.read(reinterpret_cast<char*>(start), 5);
  if (!file || error) fail(spec, "no TensorRT engine, or a truncated one; build it again");
  if (start[4] != '{') return {};
  const std::uint64_t length = start[0] | start[1] << 8 | start[2] << 16 | static_cast<std::uint64_t>(start[3]) << 24;
  if (length > size - 4) fail(spec, "its metadata header is longer than the file, which is truncated; build it again");
  if (length > max_metadata_bytes) fail(spec, "its metadata header is larger than 1 MiB");
  std::string text(length, '{');
  file.read(text.data() + 1, static_cast<std::streamsize>(length) - 1);
  if (!file) fail(spec, "its metadata header cannot be read");
  try {
    Value value = parse_literal(text);
    if (Dict* dict = std::get_if<Dict>(&value.data)) {
      spec.plan = 4 + length;
      return std::move(*dict);
    }
  } catch (const ParseError& what) {
    fail(spec, std::string("its metadata header: ") + what.what());
  }
  fail(spec, "its metadata header is no JSON object");
}

// ---- metadata.yaml beside NCNN and OpenVINO models ----

Dict read_sidecar(const ModelSpec& spec) {
  const fs::path path = spec.graph.parent_path() / "metadata.yaml";
  std::error_code error;
  if (!fs::exists(path, error)) return {};
  const std::optional<std::string> text = read_text(path, max_metadata_bytes);
  if (!text) fail(spec, "metadata.yaml cannot be read or is larger than 1 MiB");
  try {
    Value value = parse_yaml(*text);
    if (Dict* dict = std::get_if<Dict>(&value.data)) return std::move(*dict);
  } catch (const ParseError& what) {
    fail(spec, std::string("metadata.yaml: ") + what.what());
  }
  fail(spec, "metadata.yaml holds no 'key: value' lines");
}

// ---- from metadata to the spec ----

/// A null, boolean or number as it was written, which is what a name or other text means.
std::string to_text(const Value& value) {
  if (!value.text.empty()) return value.text;
  struct Visitor {
    std::string operator()(std::nullptr_t) const { return "null"; }
    std::string operator()(bool b) const { return b ? "true" : "false"; }
    std::string operator()(std::int64_t i) const { return std::to_string(i); }
    std::string operator()(double d) const { return std::to_string(d); }
    std::string operator()(const std::string& s) const { return s; }
    std::string operator()(const List& list) const {
      std::string out = "[";
      for (const Value& item : list) out += (out.size() > 1 ? ", " : "") + to_text(item);
      return out + "]";
    }
    std::string operator()(const Dict& dict) const {
      std::string out = "{";
      for (const auto& [key, item] : dict) out += (out.size() > 1 ? ", " : "") + to_text(key) + ": " + to_text(item);
      return out + "}";
    }
  };
  return std::visit(Visitor{}, value.data);
}

class MetadataReader {
 public:
  MetadataReader(ModelSpec& spec, const Dict& metadata) : spec_(spec), metadata_(metadata) {}

  void read() {
    for (const auto& [key, value] : metadata_) {
      if (!spec_.metadata.emplace(to_text(key), to_text(value)).second) {
        fail(spec_, "its metadata has '" + to_text(key) + "' twice");
      }
    }
    if (const Value task = get("task"); task.as<std::string>() && *task.as<std::string>() != "detect") {
      fail(spec_, "its task is '" + *task.as<std::string>() + "'; yolort runs detection models");
    }
    if (const Value channels = get("channels"); channels.as<std::int64_t>() && *channels.as<std::int64_t>() != 3) {
      fail(spec_, "it takes " + to_text(channels) + " channels; yolort feeds 3 (RGB)");
    }
    read_names();
    read_imgsz();
    const Value args = get("args");
    const Value* nms = args.find("nms");
    const bool end2end = is_true(get("end2end")) || (nms && is_true(*nms));
    spec_.layout.head = end2end ? Head::end2end : metadata_.empty() ? Head::unknown : Head::boxes;
    spec_.layout.nms = !end2end;
    if (nms && is_true(*nms)) {  // Ultralytics unrolls the loop over the images: what is beyond finds nothing
      const Value batch = get("batch");
      spec_.max_batch = batch.as<std::int64_t>() ? static_cast<int>(integer(batch, "batch", 1, 1 << 16)) : 1;
    }
    const Value* quantize = args.find("quantize");  // of Ultralytics, before 8.4 "int8"
    const Value* int8 = args.find("int8");
    if ((quantize && to_text(*quantize) == "8") || (int8 && is_true(*int8))) spec_.precision = "int8";
    read_own();
  }

 private:
  /// A value as a literal: ONNX stores them all as text.
  Value get(const std::string& key) const {
    for (const auto& [name, value] : metadata_) {
      if (!name.as<std::string>() || *name.as<std::string>() != key) continue;
      const std::string* text = value.as<std::string>();
      if (!text || spec_.format != Format::onnx) return value;
      const bool collection = !text->empty() && (text->front() == '{' || text->front() == '[');
      try {
        return parse_literal(*text);
      } catch (const ParseError& what) {
        if (collection) fail(spec_, "metadata '" + key + "': " + what.what());
        return value;
      }
    }
    return {};
  }

  static bool is_true(const Value& value) { return value.as<bool>() && *value.as<bool>(); }

  std::int64_t integer(const Value& value, const std::string& what, std::int64_t low, std::int64_t high) const {
    const std::int64_t* number = value.as<std::int64_t>();
    if (!number || *number < low || *number > high) {
      fail(spec_, "metadata '" + what + "' is " + to_text(value) + ", expected " + std::to_string(low) + " to " +
                      std::to_string(high));
    }
    return *number;
  }

  void read_names() {
    const Value names = get("names");
    const auto name_of = [&](const Value& value) {
      std::string name = to_text(value);
      if (name.size() > max_name_bytes) fail(spec_, "metadata 'names': a class name is longer than 1024 bytes");
      return name;
    };
    if (const List* list = names.as<List>()) {
      check_class_count(list->size());
      for (const Value& name : *list) spec_.names.push_back(name_of(name));
    } else if (const Dict* dict = names.as<Dict>()) {
      check_class_count(dict->size());
      spec_.names.resize(dict->size());
      std::vector<bool> seen(dict->size());
      const auto last = static_cast<std::int64_t>(dict->size()) - 1;
      for (const auto& [key, value] : *dict) {
        std::int64_t index = integer(number_of(key), "names", 0, last);
        if (seen[index]) fail(spec_, "metadata 'names': class " + std::to_string(index) + " stands twice");
        seen[index] = true;
        spec_.names[index] = name_of(value);
      }
    } else if (!names.as<std::nullptr_t>()) {
      fail(spec_, "metadata 'names' is no list or dict of class names");
    }
  }

  /// The keys of a JSON object are text.
  static Value number_of(const Value& key) {
    const std::string* text = key.as<std::string>();
    std::int64_t number = 0;
    if (!text || text->empty()) return key;
    const auto [stop, error] = std::from_chars(text->data(), text->data() + text->size(), number);
    return error == std::errc() && stop == text->data() + text->size() ? Value{number} : key;
  }

  void check_class_count(std::size_t count) const {
    if (count == 0 || count > max_classes) {
      fail(spec_,
           "metadata 'names' has " + std::to_string(count) + " classes, expected 1 to " + std::to_string(max_classes));
    }
  }

  void read_imgsz() {
    const Value imgsz = get("imgsz");
    if (imgsz.as<std::nullptr_t>()) return;
    const List* list = imgsz.as<List>();
    if (list && list->size() != 1 && list->size() != 2) fail(spec_, "metadata 'imgsz' is no size or [height, width]");
    const Value& height = list ? list->front() : imgsz;
    const Value& width = list ? list->back() : imgsz;
    spec_.height = static_cast<int>(integer(height, "imgsz", 1, max_imgsz));
    spec_.width = static_cast<int>(integer(width, "imgsz", 1, max_imgsz));
  }

  /// The `yolort` key, which our exporter adds.
  void read_own() {
    Value own = get("yolort");
    if (const std::string* text = own.as<std::string>()) {
      try {
        own = parse_literal(*text);
      } catch (const ParseError& what) {
        fail(spec_, std::string("metadata 'yolort': ") + what.what());
      }
    }
    if (own.as<std::nullptr_t>()) return;
    const Value* format = own.find("format");
    if (!format) fail(spec_, "metadata 'yolort' has no 'format'");
    if (integer(*format, "yolort.format", 1, 1 << 30) > metadata_format) {
      fail(spec_, "it was written by a newer yolort (metadata format " + to_text(*format) + ", this one reads " +
                      std::to_string(metadata_format) + "); upgrade yolort or export the model again");
    }
    HeadLayout& layout = spec_.layout;
    const std::string head = text_of(own, "head");
    if (head == "raw" || head == "raw-e2e") {
      layout.head = Head::raw;
      layout.reg_max = static_cast<int>(integer(required(own, "reg_max"), "yolort.reg_max", 1, 64));
      const Value& strides = required(own, "strides");
      if (!strides.as<List>() || strides.as<List>()->empty() || strides.as<List>()->size() > 8) {
        fail(spec_, "metadata 'yolort.strides' is no list of 1 to 8 strides");
      }
      for (const Value& stride : *strides.as<List>()) {
        layout.strides.push_back(static_cast<int>(integer(stride, "yolort.strides", 1, 1024)));
      }
    } else if (head == "boxes") {
      layout.head = Head::boxes;
    } else if (head == "end2end") {
      layout.head = Head::end2end;
    } else {
      fail(spec_, "metadata 'yolort.head' is '" + head + "', expected raw, raw-e2e, boxes or end2end");
    }
    layout.nms = head == "raw" || head == "boxes";
    if (own.find("precision")) spec_.precision = text_of(own, "precision");
    if (own.find("engine")) spec_.engine = text_of(own, "engine");
    if (const Value* source = own.find("source"); source && source->find("sha256")) {
      spec_.source = text_of(*source, "sha256");
    }
    read_input(own);
  }

  /// The letterbox is fixed; a model that wants another one must not run with this one.
  void read_input(const Value& own) const {
    const Value* input = own.find("input");
    if (!input) return;
    const auto expect = [&](const char* key, const char* wanted) {
      const Value* value = input->find(key);
      if (value && to_text(*value) != wanted) {
        fail(spec_, std::string("metadata 'yolort.input.") + key + "' is " + to_text(*value) + ", this yolort feeds " +
                        wanted);
      }
    };
    expect("colour", "rgb");
    expect("scale", "255");
    expect("pad", "114");
  }

  const Value& required(const Value& own, const std::string& key) const {
    const Value* value = own.find(key);
    if (!value) fail(spec_, "metadata 'yolort' has no '" + key + "'");
    return *value;
  }

  std::string text_of(const Value& own, const std::string& key) const {
    const std::string* text = required(own, key).as<std::string>();
    if (!text) fail(spec_, "metadata 'yolort." + key + "' is no text");
    return *text;
  }

  ModelSpec& spec_;
  const Dict& metadata_;
};

// ---- files ----

/// The one file with this ending in a folder, or the path itself.
fs::path find_graph(const ModelSpec& spec, const fs::path& path, const std::string& ending) {
  if (!fs::is_directory(path)) return path;
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(path)) {
    const std::string name = entry.path().filename().string();
    if (name.size() > ending.size() && name.compare(name.size() - ending.size(), ending.size(), ending) == 0) {
      found.push_back(entry.path());
    }
  }
  if (found.size() == 1) return found[0];
  fail(spec, (found.empty() ? "the folder has no " : "the folder has more than one ") + ending + " file");
}

bool has_file(const fs::path& folder, const std::string& ending) {
  std::error_code error;
  return std::any_of(fs::directory_iterator(folder, error), fs::directory_iterator{},
                     [&](const auto& entry) { return entry.path().extension() == ending; });
}

}  // namespace

std::string to_text(Format format) {
  switch (format) {
    case Format::onnx: return "onnx";
    case Format::ncnn: return "ncnn";
    case Format::openvino: return "openvino";
    case Format::tensorrt: return "tensorrt";
  }
  return "";
}

std::string HeadLayout::name() const {
  switch (head) {
    case Head::raw: return nms ? "raw" : "raw-e2e";
    case Head::boxes: return "boxes";
    case Head::end2end: return "end2end";
    case Head::unknown: break;
  }
  return "unknown";
}

ModelError unknown_imgsz(const ModelSpec& spec) {
  return ModelError("model \"" + spec.given +
                    "\" does not say its input size (no 'imgsz' in its metadata); give imgsz=");
}

ModelSpec read_model(const std::string& given) {
  ModelSpec spec;
  spec.given = given;
  const fs::path path(given);
  std::error_code error;
  if (given.empty() || given.find('\0') != std::string::npos || !fs::exists(path, error)) {
    throw FileNotFound("model \"" + given.substr(0, given.find('\0')) + "\" does not exist");
  }
  const bool folder = fs::is_directory(path);
  const std::string ending = folder ? "" : path.extension().string();
  if (folder && has_file(path, ".param")) {
    spec.format = Format::ncnn;
  } else if (folder && has_file(path, ".xml")) {
    spec.format = Format::openvino;
  } else if (ending == ".param") {
    spec.format = Format::ncnn;
  } else if (ending == ".xml") {
    spec.format = Format::openvino;
  } else if (ending == ".engine" || ending == ".plan") {
    spec.format = Format::tensorrt;
  } else if (ending != ".onnx") {
    fail(
        spec,
        folder
            ? "the folder holds no .param (NCNN) or .xml (OpenVINO) file"
            : "unknown model format '" + ending +
                  "'; give an .onnx file, a TensorRT .engine, an NCNN folder or .param, or an OpenVINO folder or .xml" +
                  (ending == ".pt" ? " (yolort export makes them from a .pt)" : ""));
  }

  if (spec.format == Format::onnx || spec.format == Format::tensorrt) {
    spec.graph = path;
  } else {
    spec.graph = find_graph(spec, path, spec.format == Format::ncnn ? ".param" : ".xml");
    spec.weights = fs::path(spec.graph).replace_extension(".bin");
    if (!fs::exists(spec.weights, error)) fail(spec, "its weights " + spec.weights.string() + " are missing");
    if (!fs::is_regular_file(spec.weights, error)) fail(spec, "its weights " + spec.weights.string() + " are no file");
  }
  if (!fs::is_regular_file(spec.graph, error) || fs::file_size(spec.graph, error) == 0 || error)
    fail(spec, "the file is empty or cannot be read");

  const Dict metadata = spec.format == Format::onnx       ? read_onnx_metadata(spec)
                        : spec.format == Format::tensorrt ? read_plan_header(spec)
                                                          : read_sidecar(spec);
  MetadataReader(spec, metadata).read();
  return spec;
}

}  // namespace yolort
