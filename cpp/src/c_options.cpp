#include "c_options.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

namespace yolort {
namespace {

/// The defaults, with Struct::struct_size.
yolort_thresholds default_thresholds() {
  const Thresholds from;
  yolort_thresholds out{};
  out.struct_size = sizeof out;
  out.conf = from.conf;
  out.iou = from.iou;
  out.max_det = from.max_det;
  return out;
}

yolort_options default_options() {
  yolort_options out{};
  out.struct_size = sizeof out;
  out.tuned = out.flip = 1;
  return out;
}

/// Writes the defaults to a caller's struct of `size` bytes, which may have fewer fields or more (those become zero).
template <class Struct>
void write_defaults(Struct from, Struct* to, size_t size, const char* name) {
  need(to, name);
  if (size < sizeof(from.struct_size) || size > 4096) {
    throw std::invalid_argument(std::string("the size of ") + name + " is " + std::to_string(size) +
                                "; pass sizeof the struct");
  }
  from.struct_size = size;
  auto* bytes = reinterpret_cast<unsigned char*>(to);
  std::memset(bytes, 0, size);
  std::memcpy(bytes, &from, std::min(size, sizeof from));
}

/// Copies a caller's struct to `out`. Fields that it lacks keep their values; fields unknown here must be zero.
template <class Struct>
Struct sized(const Struct* from, Struct out, const char* name) {
  if (!from) return out;
  const std::size_t size = from->struct_size;
  const auto* bytes = reinterpret_cast<const unsigned char*>(from);
  bool fits = size >= sizeof(from->struct_size) && size <= 4096 && size % alignof(Struct) == 0;
  for (std::size_t i = sizeof(Struct); fits && i < size; ++i) fits = bytes[i] == 0;
  if (!fits) {
    throw std::invalid_argument(std::string(name) + ".struct_size is " + std::to_string(size) +
                                "; start from yolort_default_" + name +
                                "(), or use a newer library: it sets fields "
                                "that this one does not know");
  }
  std::memcpy(&out, from, std::min(size, sizeof(Struct)));
  return out;
}

template <class To, class From>
std::vector<To> list(const From* values, std::size_t count, const char* name) {
  if (count) need(values, name);
  return std::vector<To>(values, values + count);
}

std::string text(const char* value) { return value ? value : ""; }

std::vector<std::string> texts(const char* const* values, std::size_t count, const char* name) {
  if (count) need(values, name);
  std::vector<std::string> out;
  for (std::size_t i = 0; i < count; ++i) {
    need(values[i], (std::string("a text of ") + name).c_str());
    out.emplace_back(values[i]);
  }
  return out;
}

}  // namespace

void need(const void* pointer, const char* name) {
  if (!pointer) throw std::invalid_argument(std::string(name) + " is NULL");
}

void set_defaults(yolort_thresholds* thresholds, std::size_t size) {
  write_defaults(default_thresholds(), thresholds, size, "thresholds");
}

void set_defaults(yolort_options* options, std::size_t size) {
  write_defaults(default_options(), options, size, "options");
}

Thresholds to_thresholds(const yolort_thresholds* thresholds) {
  const yolort_thresholds from = sized(thresholds, default_thresholds(), "thresholds");
  Thresholds out;
  out.conf = from.conf;
  out.iou = from.iou;
  out.max_det = from.max_det;
  out.classes = list<int>(from.classes, from.class_count, "thresholds.classes");
  out.class_conf = list<float>(from.class_conf, from.class_conf_count, "thresholds.class_conf");
  out.agnostic = from.agnostic;
  out.multi_label = from.multi_label;
  return out;
}

Options to_options(const yolort_options* options) {
  const yolort_options from = sized(options, default_options(), "options");
  Options out;
  static_cast<Thresholds&>(out) = to_thresholds(from.thresholds);
  out.engine = text(from.engine);
  out.device = text(from.device);
  out.precision = text(from.precision);
  if (from.threads) out.threads = from.threads;
  if (from.height || from.width) out.imgsz = {from.height, from.width};
  if (from.rect < YOLORT_RECT_AUTO || from.rect > YOLORT_RECT_OFF) {
    throw std::invalid_argument("options.rect is " + std::to_string(from.rect) +
                                ", expected YOLORT_RECT_AUTO (0), YOLORT_RECT_ON (1) or YOLORT_RECT_OFF (2)");
  }
  if (from.rect != YOLORT_RECT_AUTO) out.rect = from.rect == YOLORT_RECT_ON;
  out.tuned = from.tuned;
  out.names = texts(from.names, from.name_count, "options.names");
  out.augment = from.augment;
  out.scales = list<int>(from.scales, from.scale_count, "options.scales");
  if (from.merge != YOLORT_WBF && from.merge != YOLORT_NMS) {
    throw std::invalid_argument("options.merge is " + std::to_string(from.merge) +
                                ", expected YOLORT_WBF (0) or YOLORT_NMS (1)");
  }
  out.merge = from.merge == YOLORT_NMS ? Merge::nms : Merge::wbf;
  out.flip = from.flip;
  out.scale_models = texts(from.scale_models, from.scale_model_count, "options.scale_models");
  const auto settings = texts(from.engine_options, from.engine_option_count, "options.engine_options");
  if (settings.size() % 2) throw std::invalid_argument("options.engine_options has a name without a value");
  for (std::size_t i = 0; i < settings.size(); i += 2) out.engine_options[settings[i]] = settings[i + 1];
  out.flip_idx = list<int>(from.flip_idx, from.flip_idx_count, "options.flip_idx");
  const std::vector<int> limbs = list<int>(from.skeleton, from.skeleton_count, "options.skeleton");
  if (limbs.size() % 2) throw std::invalid_argument("options.skeleton has a limb with one keypoint");
  for (std::size_t i = 0; i < limbs.size(); i += 2) out.skeleton.push_back({limbs[i], limbs[i + 1]});
  out.channels = text(from.channels);
  out.resize = text(from.resize);
  out.mean = list<float>(from.mean, from.mean_count, "options.mean");
  out.stddev = list<float>(from.stddev, from.stddev_count, "options.stddev");
  return out;
}

Image to_image(const yolort_image& from) {
  if (from.format < YOLORT_BGR || from.format > YOLORT_CHANNELS) {
    throw std::invalid_argument("image: its format is " + std::to_string(from.format) +
                                ", expected YOLORT_BGR (0) to YOLORT_CHANNELS (5)");
  }
  if (from.memory != YOLORT_HOST && from.memory != YOLORT_CUDA) {
    throw std::invalid_argument("image: its memory is " + std::to_string(from.memory) +
                                ", expected YOLORT_HOST (0) or YOLORT_CUDA (1)");
  }
  static_assert(static_cast<int>(PixelFormat::bgr) == YOLORT_BGR &&
                static_cast<int>(PixelFormat::channels) == YOLORT_CHANNELS);
  return {from.pixels,
          from.width,
          from.height,
          from.stride,
          static_cast<PixelFormat>(from.format),
          from.memory == YOLORT_CUDA ? Memory::cuda : Memory::host,
          from.stream,
          from.channels};
}

}  // namespace yolort
