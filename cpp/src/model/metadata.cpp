#include "model/metadata.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <vector>

#include "model/literal.h"
#include "ops/keypoints.h"

namespace yolort {
namespace {

constexpr std::int64_t max_classes = 65536;
constexpr std::int64_t max_stride = 1024;
constexpr std::size_t max_name_bytes = 1024;
constexpr std::int64_t max_keypoints = 4096;

/// The value as text. Nulls, booleans and numbers keep their spelling, because they may be class names.
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
    read_task();
    if (const Value channels = get("channels"); channels.as<std::int64_t>()) {
      spec_.input.channels = static_cast<int>(integer(channels, "channels", 1, max_channels));
    }
    read_names();
    read_imgsz();
    if (const Value stride = get("stride"); stride.as<std::int64_t>()) {
      spec_.stride = static_cast<int>(integer(stride, "stride", 1, max_stride));
    }
    const Value args = get("args");
    const Value* nms = args.find("nms");
    const bool end2end = is_true(get("end2end")) || (nms && is_true(*nms));
    spec_.layout.head = end2end ? Head::end2end : metadata_.empty() ? Head::unknown : Head::boxes;
    spec_.layout.nms = !end2end;
    if (spec_.layout.transformer) {
      spec_.layout.head = Head::end2end;
      spec_.layout.nms = false;
    }
    spec_.layout.normalized = spec_.format == Format::tflite;  // Ultralytics normalizes boxes for INT8
    if (nms && is_true(*nms)) {  // unrolled by Ultralytics: images beyond it get no detections
      const Value batch = get("batch");
      spec_.max_batch = batch.as<std::int64_t>() ? static_cast<int>(integer(batch, "batch", 1, 1 << 16)) : 1;
    }
    const Value* quantize = args.find("quantize");  // since Ultralytics 8.4; before, "int8"
    const Value* int8 = args.find("int8");
    if ((quantize && to_text(*quantize) == "8") || (int8 && is_true(*int8))) spec_.precision = "int8";
    read_own();
    if (spec_.layout.task == Task::classify) {
      spec_.layout.head = Head::probs;
      spec_.layout.nms = false;
    }
  }

 private:
  /// The value of a key. ONNX stores all values as text, which is parsed here.
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

  void read_task() {
    HeadLayout& layout = spec_.layout;
    if (const Value task = get("task"); task.as<std::string>()) {
      const std::string& name = *task.as<std::string>();
      bool known = false;
      for (const Task each : {Task::detect, Task::segment, Task::pose, Task::obb, Task::classify}) {
        if (name != yolort::to_text(each)) continue;
        layout.task = each;
        known = true;
      }
      if (!known) fail(spec_, "its task is '" + name + "'; yolort supports detect, segment, pose, obb and classify");
    }
    if (spec_.format == Format::tflite && layout.task != Task::detect) {
      fail(spec_, "its task is '" + to_text(layout.task) + "'; for .tflite files yolort supports only detect");
    }
    if (layout.task == Task::obb) layout.extra = 1;
    if (layout.task == Task::pose) {
      const Value shape = get("kpt_shape");
      const List* list = shape.as<List>();
      if (!list || list->size() != 2) {
        fail(spec_, "metadata 'kpt_shape' is " + to_text(shape) + ", expected [keypoints, 2 or 3]");
      }
      layout.kpt_shape = {static_cast<int>(integer(list->front(), "kpt_shape", 1, max_keypoints)),
                          static_cast<int>(integer(list->back(), "kpt_shape", 2, 3))};
      layout.extra = layout.kpt_shape[0] * layout.kpt_shape[1];
    }
    const Value head = get("head");  // the class of the head in Ultralytics
    const std::string kind = head.as<std::string>() ? *head.as<std::string>() : "";
    layout.direct = kind == "Pose26" || kind == "OBB26";
    layout.transformer = kind == "RTDETRDecoder";
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
        if (seen[index]) fail(spec_, "metadata 'names': class " + std::to_string(index) + " occurs twice");
        seen[index] = true;
        spec_.names[index] = name_of(value);
      }
    } else if (!names.as<std::nullptr_t>()) {
      fail(spec_, "metadata 'names' is not a list or dict of class names");
    }
    // Names that Ultralytics writes for a model without any: 999 of them (default_class_names in nn/autobackend.py).
    spec_.placeholders = !spec_.names.empty();
    for (std::size_t i = 0; i < spec_.names.size(); ++i) {
      spec_.placeholders = spec_.placeholders && spec_.names[i] == "class" + std::to_string(i);
    }
  }

  /// Keys of a JSON object are strings, also for numbers.
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
    if (list && list->size() != 1 && list->size() != 2)
      fail(spec_, "metadata 'imgsz' is neither a size nor [height, width]");
    const Value& height = list ? list->front() : imgsz;
    const Value& width = list ? list->back() : imgsz;
    spec_.height = static_cast<int>(integer(height, "imgsz", 1, max_imgsz));
    spec_.width = static_cast<int>(integer(width, "imgsz", 1, max_imgsz));
  }

  /// Reads the `yolort` key, which our exporter adds.
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
      if (!strides.as<List>() || strides.as<List>()->empty() || strides.as<List>()->size() > max_levels) {
        fail(spec_, "metadata 'yolort.strides' is not a list of 1 to 8 strides");
      }
      for (const Value& stride : *strides.as<List>()) {
        layout.strides.push_back(static_cast<int>(integer(stride, "yolort.strides", 1, max_stride)));
      }
      spec_.stride = *std::max_element(layout.strides.begin(), layout.strides.end());
    } else if (head == "boxes") {
      layout.head = Head::boxes;
    } else if (head == "end2end") {
      layout.head = Head::end2end;
    } else if (head != "probs" || layout.task != Task::classify) {
      fail(spec_,
           "metadata 'yolort.head' is '" + head + "', expected raw, raw-e2e, boxes or end2end (classify: probs)");
    }
    layout.nms = head == "raw" || head == "boxes";
    if (own.find("precision")) spec_.precision = text_of(own, "precision");
    if (own.find("engine")) spec_.engine = text_of(own, "engine");
    if (const Value* source = own.find("source"); source && source->find("sha256")) {
      spec_.source = text_of(*source, "sha256");
    }
    if (layout.task == Task::pose) read_keypoints(own);
    read_input(own);
  }

  /// The counterparts of keypoints in a mirrored image, and the limbs.
  void read_keypoints(const Value& own) {
    const int count = spec_.layout.kpt_shape[0];
    const auto check = [&](const std::string& key, const std::string& problem) {
      if (!problem.empty()) fail(spec_, "metadata '" + key + "' " + problem);
    };
    if (const Value* flip = own.find("flip_idx")) {
      spec_.layout.flip_idx = integers(*flip, "yolort.flip_idx");
      check("yolort.flip_idx", problem_of(spec_.layout.flip_idx, count));
    }
    if (const Value* skeleton = own.find("skeleton")) {
      const List* limbs = skeleton->as<List>();
      if (!limbs) fail(spec_, "metadata 'yolort.skeleton' is not a list of pairs of keypoints");
      for (const Value& limb : *limbs) {
        const std::vector<int> ends = integers(limb, "yolort.skeleton");
        if (ends.size() != 2) fail(spec_, "metadata 'yolort.skeleton' is not a list of pairs of keypoints");
        spec_.skeleton.push_back({ends[0], ends[1]});
      }
      check("yolort.skeleton", problem_of(spec_.skeleton, count));
    }
  }

  /// Indices of keypoints.
  std::vector<int> integers(const Value& value, const std::string& key) const {
    const List* list = value.as<List>();
    if (!list) fail(spec_, "metadata '" + key + "' holds " + to_text(value) + ", expected a list of keypoints");
    std::vector<int> out;
    for (const Value& each : *list) out.push_back(static_cast<int>(integer(each, key, 0, max_keypoints - 1)));
    return out;
  }

  /// A model that needs another letterbox must not run with this one.
  void read_input(const Value& own) {
    const Value* input = own.find("input");
    if (!input) return;
    const auto expect = [&](const char* key, const char* wanted) {
      const Value* value = input->find(key);
      if (value && to_text(*value) != wanted) {
        fail(spec_, std::string("metadata 'yolort.input.") + key + "' is " + to_text(*value) +
                        ", but this yolort supports " + wanted);
      }
    };
    expect("scale", "255");
    expect("pad", "114");
    spec_.input.bgr = choice(*input, "colour", "rgb", "bgr");
    if (input->find("resize")) spec_.input.stretch = choice(*input, "resize", "letterbox", "stretch");
    spec_.input.mean = numbers(*input, "mean");
    spec_.input.stddev = numbers(*input, "std");
  }

  /// Reads a key with two allowed values: whether it is the second. If missing, it is the first.
  bool choice(const Value& input, const std::string& key, const std::string& first, const std::string& second) const {
    const Value* value = input.find(key);
    if (!value || to_text(*value) == first) return false;
    if (to_text(*value) == second) return true;
    fail(spec_, "metadata 'yolort.input." + key + "' is " + to_text(*value) + ", expected " + first + " or " + second);
  }

  std::vector<float> numbers(const Value& input, const std::string& key) const {
    const Value* value = input.find(key);
    if (!value) return {};
    std::vector<float> out;
    const List one = {*value};
    for (const Value& item : value->as<List>() ? *value->as<List>() : one) {
      const std::int64_t* whole = item.as<std::int64_t>();
      if (!whole && !item.as<double>()) fail(spec_, "metadata 'yolort.input." + key + "' is not a list of numbers");
      out.push_back(whole ? static_cast<float>(*whole) : static_cast<float>(*item.as<double>()));
    }
    return out;
  }

  const Value& required(const Value& own, const std::string& key) const {
    const Value* value = own.find(key);
    if (!value) fail(spec_, "metadata 'yolort' has no '" + key + "'");
    return *value;
  }

  std::string text_of(const Value& own, const std::string& key) const {
    const std::string* text = required(own, key).as<std::string>();
    if (!text) fail(spec_, "metadata 'yolort." + key + "' is not text");
    return *text;
  }

  ModelSpec& spec_;
  const Dict& metadata_;
};

}  // namespace

[[noreturn]] void fail(const ModelSpec& spec, const std::string& what) {
  throw ModelError("model \"" + spec.path + "\": " + what);
}

void apply_metadata(ModelSpec& spec, const Dict& metadata) { MetadataReader(spec, metadata).read(); }

}  // namespace yolort
