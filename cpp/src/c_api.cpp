// Implements the C API with the C++ one. No exception escapes.
#include "yolort/c.h"

#include <algorithm>
#include <utility>

#include "c_options.h"
#include "c_status.h"
#include "yolort/yolort.h"

struct yolort_detector {
  yolort::Detector detector;
};

struct yolort_results {
  struct OfImage {
    yolort::Detections found;
    std::vector<yolort_detection> detections;
    std::vector<yolort_mask> masks;
  };
  std::vector<OfImage> images;
};

using yolort::guarded;
using yolort::need;
using yolort::to_image;
using yolort::to_options;
using yolort::to_thresholds;

namespace {

yolort_results::OfImage to_results(yolort::Detections found) {
  yolort_results::OfImage out;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const yolort::Box& box = found.boxes[i];
    out.detections.push_back({box.x1, box.y1, box.x2, box.y2, found.scores[i], found.classes[i]});
  }
  for (const yolort::Mask& mask : found.masks) {
    out.masks.push_back({mask.x, mask.y, mask.width, mask.height, mask.row_bytes(), mask.bits.get()});
  }
  out.found = std::move(found);
  return out;
}

/// The results of an image; NULL if there is no such image.
const yolort_results::OfImage* of_image(const yolort_results* results, size_t image) {
  return results && image < results->images.size() ? &results->images[image] : nullptr;
}

template <class T>
const T* data_of(const std::vector<T>& values) {
  return values.empty() ? nullptr : values.data();
}

}  // namespace

int32_t yolort_abi_version(void) { return YOLORT_ABI_VERSION; }
const char* yolort_version(void) { return YOLORT_VERSION; }

const char* yolort_engine_at(size_t position, const char** reason) {
  thread_local std::vector<yolort::EngineStatus> engines;
  if (reason) *reason = nullptr;
  if (guarded([] { engines = yolort::engines(); }) != YOLORT_OK || position >= engines.size()) return nullptr;
  if (reason) *reason = engines[position].reason.c_str();
  return engines[position].name.c_str();
}

const char* yolort_device_at(const char* engine, size_t position) {
  thread_local std::vector<std::string> devices;
  thread_local std::string of;
  const yolort_status status = guarded([&] {
    need(engine, "engine");
    if (position && of == engine && !devices.empty()) return;
    devices.clear();
    of = engine;
    devices = yolort::devices(engine);
  });
  return status == YOLORT_OK && position < devices.size() ? devices[position].c_str() : nullptr;
}

yolort_status yolort_default_thresholds(yolort_thresholds* thresholds, size_t size) {
  return guarded([&] { yolort::set_defaults(thresholds, size); });
}

yolort_status yolort_default_options(yolort_options* options, size_t size) {
  return guarded([&] { yolort::set_defaults(options, size); });
}

yolort_status yolort_open(const char* model, const yolort_options* options, yolort_detector** detector) {
  if (detector) *detector = nullptr;
  return guarded([&] {
    need(model, "model");
    need(detector, "detector");
    *detector = new yolort_detector{yolort::Detector(model, to_options(options))};
  });
}

yolort_status yolort_open_memory(const void* model, size_t size, const char* format, const yolort_options* options,
                                 yolort_detector** detector) {
  if (detector) *detector = nullptr;
  return guarded([&] {
    need(model, "model");
    need(format, "format");
    need(detector, "detector");
    *detector = new yolort_detector{yolort::Detector(yolort::ModelBytes{model, size, format}, to_options(options))};
  });
}

yolort_status yolort_clone(const yolort_detector* detector, yolort_detector** clone) {
  if (clone) *clone = nullptr;
  return guarded([&] {
    need(detector, "detector");
    need(clone, "clone");
    *clone = new yolort_detector{detector->detector.clone()};
  });
}

void yolort_free(yolort_detector* detector) { delete detector; }

size_t yolort_name_count(const yolort_detector* detector) { return detector ? detector->detector.names().size() : 0; }

const char* yolort_name(const yolort_detector* detector, int32_t class_id) {
  if (class_id < 0 || static_cast<size_t>(class_id) >= yolort_name_count(detector)) return nullptr;
  return detector->detector.names()[static_cast<size_t>(class_id)].c_str();
}

const char* yolort_engine(const yolort_detector* detector) {
  return detector ? detector->detector.engine().c_str() : nullptr;
}
const char* yolort_device(const yolort_detector* detector) {
  return detector ? detector->detector.device().c_str() : nullptr;
}
const char* yolort_precision(const yolort_detector* detector) {
  return detector ? detector->detector.precision().c_str() : nullptr;
}
const char* yolort_head(const yolort_detector* detector) {
  return detector ? detector->detector.head().c_str() : nullptr;
}

const char* yolort_task(const yolort_detector* detector) {
  if (!detector) return nullptr;
  switch (detector->detector.task()) {
    case yolort::Task::segment: return "segment";
    case yolort::Task::pose: return "pose";
    case yolort::Task::obb: return "obb";
    case yolort::Task::classify:
    case yolort::Task::detect: break;
  }
  return "detect";
}

const int32_t* yolort_skeleton(const yolort_detector* detector, size_t* count) {
  static_assert(sizeof(yolort::Skeleton::value_type) == 2 * sizeof(int32_t));
  if (count) *count = detector ? detector->detector.skeleton().size() : 0;
  return detector && !detector->detector.skeleton().empty() ? detector->detector.skeleton().front().data() : nullptr;
}

const char* yolort_metadata(const yolort_detector* detector, const char* key) {
  const char* out = nullptr;
  guarded([&] {
    need(detector, "detector");
    need(key, "key");
    const auto& metadata = detector->detector.metadata();
    if (const auto found = metadata.find(key); found != metadata.end()) out = found->second.c_str();
  });
  return out;
}

int32_t yolort_channels(const yolort_detector* detector) { return detector ? detector->detector.channels() : 0; }

yolort_status yolort_imgsz(const yolort_detector* detector, int32_t* height, int32_t* width) {
  return guarded([&] {
    need(detector, "detector");
    need(height, "height");
    need(width, "width");
    const auto imgsz = detector->detector.imgsz();
    *height = imgsz[0];
    *width = imgsz[1];
  });
}

yolort_status yolort_speed(const yolort_detector* detector, double* pre, double* inference, double* post) {
  return guarded([&] {
    need(detector, "detector");
    const yolort::Speed speed = detector->detector.speed();
    for (const auto& [to, value] : {std::pair{pre, speed.pre}, {inference, speed.inference}, {post, speed.post}}) {
      need(to, "pre, inference or post");
      *to = value;
    }
  });
}

yolort_status yolort_detect(yolort_detector* detector, const yolort_image* images, size_t count,
                            const yolort_thresholds* thresholds, yolort_results** results) {
  if (results) *results = nullptr;
  return guarded([&] {
    need(detector, "detector");
    need(results, "results");
    if (count) need(images, "images");
    std::vector<yolort::Image> borrowed;
    for (size_t i = 0; i < count; ++i) borrowed.push_back(to_image(images[i]));
    auto found =
        detector->detector.detect(borrowed, thresholds ? to_thresholds(thresholds) : detector->detector.thresholds());
    auto out = std::make_unique<yolort_results>();
    for (yolort::Detections& detections : found) out->images.push_back(to_results(std::move(detections)));
    *results = out.release();
  });
}

const yolort_detection* yolort_results_get(const yolort_results* results, size_t image, size_t* count) {
  const yolort_results::OfImage* found = of_image(results, image);
  if (count) *count = found ? found->detections.size() : 0;
  return found ? data_of(found->detections) : nullptr;
}

const yolort_mask* yolort_results_masks(const yolort_results* results, size_t image) {
  const yolort_results::OfImage* found = of_image(results, image);
  return found ? data_of(found->masks) : nullptr;
}

const yolort_rotated_box* yolort_results_rotated(const yolort_results* results, size_t image) {
  static_assert(sizeof(yolort_rotated_box) == sizeof(yolort::RotatedBox));
  const yolort_results::OfImage* found = of_image(results, image);
  return found ? reinterpret_cast<const yolort_rotated_box*>(data_of(found->found.rotated)) : nullptr;
}

const float* yolort_results_keypoints(const yolort_results* results, size_t image, int32_t* keypoints,
                                      int32_t* values) {
  const yolort_results::OfImage* found = of_image(results, image);
  if (keypoints) *keypoints = found ? found->found.kpt_shape[0] : 0;
  if (values) *values = found ? found->found.kpt_shape[1] : 0;
  return found ? data_of(found->found.keypoints) : nullptr;
}

yolort_status yolort_corners(const yolort_rotated_box* box, float* corners) {
  return guarded([&] {
    need(box, "box");
    need(corners, "corners");
    const auto from = yolort::corners({box->cx, box->cy, box->width, box->height, box->angle});
    std::copy(from.begin(), from.end(), corners);
  });
}

void yolort_results_free(yolort_results* results) { delete results; }
