#include "c_support.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace yolort::c {
namespace {

thread_local std::string last_error;

/// A copy of a caller's struct, which may have fewer fields (those are as in `out`) or more (which must be zero).
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
                                "(), or use a newer library: it asks for what "
                                "this one does not know");
  }
  std::memcpy(&out, from, std::min(size, sizeof(Struct)));
  return out;
}

template <class T, class Source>
std::vector<T> list(const Source* values, std::size_t count, const char* name) {
  if (count) need(values, name);
  return std::vector<T>(values, values + count);
}

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

yolort_status failed(yolort_status status, const char* what) noexcept {
  try {
    last_error = what;
  } catch (...) {  // out of memory: the status without a message
    last_error.clear();
  }
  return status;
}

void need(const void* pointer, const char* name) {
  if (!pointer) throw std::invalid_argument(std::string(name) + " is NULL");
}

std::string text(const char* value) { return value ? value : ""; }

yolort_thresholds default_thresholds() {
  const yolort::Thresholds from;
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

yolort::Thresholds to_thresholds(const yolort_thresholds* thresholds) {
  const yolort_thresholds from = sized(thresholds, default_thresholds(), "thresholds");
  yolort::Thresholds out;
  out.conf = from.conf;
  out.iou = from.iou;
  out.max_det = from.max_det;
  out.classes = list<int>(from.classes, from.class_count, "thresholds.classes");
  out.agnostic = from.agnostic;
  out.multi_label = from.multi_label;
  return out;
}

yolort::Options to_options(const yolort_options* options) {
  const yolort_options from = sized(options, default_options(), "options");
  yolort::Options out;
  static_cast<yolort::Thresholds&>(out) = to_thresholds(from.thresholds);
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
  out.merge = from.merge == YOLORT_NMS ? yolort::Merge::nms : yolort::Merge::wbf;
  out.flip = from.flip;
  out.scale_models = texts(from.scale_models, from.scale_model_count, "options.scale_models");
  out.channels = text(from.channels);
  out.resize = text(from.resize);
  out.mean = list<float>(from.mean, from.mean_count, "options.mean");
  out.stddev = list<float>(from.stddev, from.stddev_count, "options.stddev");
  const auto settings = texts(from.engine_options, from.engine_option_count, "options.engine_options");
  if (settings.size() % 2) throw std::invalid_argument("options.engine_options has a name without a value");
  for (std::size_t i = 0; i < settings.size(); i += 2) out.engine_options[settings[i]] = settings[i + 1];
  return out;
}

yolort::Image to_image(const yolort_image& from) {
  if (from.format < YOLORT_BGR || from.format > YOLORT_CHANNELS) {
    throw std::invalid_argument("image: its format is " + std::to_string(from.format) +
                                ", expected YOLORT_BGR (0) to " + "YOLORT_CHANNELS (5)");
  }
  if (from.memory != YOLORT_HOST && from.memory != YOLORT_CUDA) {
    throw std::invalid_argument("image: its memory is " + std::to_string(from.memory) +
                                ", expected YOLORT_HOST (0) or YOLORT_CUDA (1)");
  }
  static_assert(static_cast<int>(yolort::PixelFormat::bgr) == YOLORT_BGR &&
                static_cast<int>(yolort::PixelFormat::channels) == YOLORT_CHANNELS);
  return {from.pixels,
          from.width,
          from.height,
          from.stride,
          static_cast<yolort::PixelFormat>(from.format),
          from.memory == YOLORT_CUDA ? yolort::Memory::cuda : yolort::Memory::host,
          from.stream,
          from.channels};
}

}  // namespace yolort::c

const char* yolort_last_error(void) { return yolort::c::last_error.c_str(); }
