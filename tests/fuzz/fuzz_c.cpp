// The C API, called in any order with anything that C allows: null pointers, zeros, numbers out of range.
#include <cstdlib>
#include <vector>

#include "../cpp/environment.h"
#include "../cpp/fake_engine.h"
#include "fuzz.h"
#include "yolort/c.h"

using namespace yolort;

namespace {

constexpr const char* words[] = {nullptr, "", "fake", "ncnn", "cpu", "vulkan:9", "fp32", "bf16", "names", "\xFF\xFE"};

const char* word(fuzz::Bytes& bytes) { return words[bytes.within(0, 9)]; }

yolort_thresholds thresholds(fuzz::Bytes& bytes, const std::vector<std::int32_t>& classes) {
  yolort_thresholds out;
  yolort_default_thresholds(&out, sizeof out);
  out.struct_size = static_cast<std::size_t>(bytes.within(0, sizeof out));
  out.conf = bytes.take<float>();
  out.iou = bytes.take<float>();
  out.max_det = bytes.take<std::int32_t>();
  out.agnostic = bytes.take<std::uint8_t>();
  out.multi_label = bytes.take<std::uint8_t>();
  out.classes = bytes.flag() ? classes.data() : nullptr;
  out.class_count = bytes.flag() ? classes.size() : 0;
  return out;
}

void open(fuzz::Bytes& bytes, const char* model, yolort_detector** detector) {
  const std::vector<std::int32_t> numbers = {bytes.take<std::int32_t>(), bytes.within(0, 3)};
  const std::vector<std::int32_t> scales = {bytes.within(-1, 200), bytes.within(0, 100)};
  const std::vector<const char*> names = {"zero", "one", word(bytes)};
  const yolort_thresholds with = thresholds(bytes, numbers);
  yolort_options out;
  yolort_default_options(&out, sizeof out);
  out.struct_size = static_cast<std::size_t>(bytes.within(0, sizeof out));
  out.engine = bytes.flag() ? nullptr : word(bytes);
  out.device = bytes.flag() ? nullptr : word(bytes);
  out.precision = bytes.flag() ? nullptr : word(bytes);
  out.threads = bytes.within(-1, 4);
  out.height = bytes.within(-1, 100);
  out.width = bytes.within(-1, 100);
  out.tuned = bytes.flag();
  out.names = bytes.flag() ? nullptr : names.data();
  out.name_count = static_cast<std::size_t>(bytes.within(0, 3));
  out.thresholds = bytes.flag() ? nullptr : &with;
  out.augment = bytes.flag();
  out.scales = bytes.flag() ? scales.data() : nullptr;
  out.scale_count = bytes.flag() ? scales.size() : 0;
  out.merge = bytes.within(-1, 2);
  out.flip = bytes.flag();
  const char* const models[] = {model, word(bytes)};
  out.scale_models = bytes.flag() ? nullptr : models;
  out.scale_model_count = static_cast<std::size_t>(bytes.within(0, 2));
  const char* const path = bytes.flag() ? model : word(bytes);
  yolort_open(path, bytes.flag() ? &out : nullptr, bytes.take<std::uint8_t>() < 250 ? detector : nullptr);
}

void detect(fuzz::Bytes& bytes, yolort_detector* detector, yolort_results** results) {
  const int width = bytes.within(1, 80), height = bytes.within(1, 80), count = bytes.within(0, 3);
  const int channels[] = {3, 3, 4, 4, 1};
  yolort_image image{};
  image.format = bytes.within(0, 4);
  const std::vector<std::uint8_t> pixels(static_cast<std::size_t>(width * height * channels[image.format]), 200);
  image.pixels = pixels.data();
  image.width = width;
  image.height = height;
  switch (bytes.within(0, 9)) {  // invalid arguments
    case 0: image.pixels = nullptr; break;
    case 1: image.width = -bytes.within(0, 1 << 30); break;
    case 2: image.height = bytes.within(65536, 1 << 30); break;
    case 3:
      image.stride = bytes.within(1, width * channels[image.format] - (width > 1 || channels[image.format] > 1));
      break;
    case 4: image.format = bytes.within(5, 1 << 30); break;
    case 5: image.memory = bytes.within(1, 1 << 30); break;
    default: break;
  }
  const std::vector<yolort_image> images(static_cast<std::size_t>(count), image);
  const std::vector<std::int32_t> classes = {0, bytes.take<std::int32_t>()};
  const yolort_thresholds with = thresholds(bytes, classes);
  yolort_detect(detector, bytes.flag() && count ? images.data() : nullptr, static_cast<std::size_t>(count),
                bytes.flag() ? &with : nullptr, bytes.take<std::uint8_t>() < 250 ? results : nullptr);
}

void look(fuzz::Bytes& bytes, const yolort_detector* detector, const yolort_results* results) {
  std::size_t count = 1;
  const yolort_detection* found = yolort_results_get(results, static_cast<std::size_t>(bytes.within(0, 4)), &count);
  for (std::size_t i = 0; found && i < count; ++i) {
    if (!(found[i].score >= 0 && found[i].score <= 1)) std::abort();
    yolort_name(detector, found[i].class_id);
  }
  const std::size_t image = static_cast<std::size_t>(bytes.within(0, 4));
  int32_t keypoints = 0, values = 0;
  if (yolort_results_masks(results, image) || yolort_results_rotated(results, image) ||
      yolort_results_keypoints(results, image, &keypoints, &values)) {
    std::abort();  // the model only detects
  }
  int32_t height = 0, width = 0;
  double pre = 0, inference = 0, post = 0;
  yolort_imgsz(detector, &height, bytes.flag() ? &width : nullptr);
  yolort_speed(detector, &pre, &inference, bytes.flag() ? &post : nullptr);
  yolort_name(detector, bytes.take<std::int32_t>());
  yolort_name_count(detector);
  for (const auto text : {yolort_engine, yolort_device, yolort_precision, yolort_head, yolort_task}) {
    if (detector && !text(detector)) std::abort();
  }
  yolort_metadata(detector, word(bytes));
  const char* reason = nullptr;
  yolort_engine_at(bytes.take<std::uint8_t>(), bytes.flag() ? &reason : nullptr);
  yolort_device_at(bytes.flag() ? "fake" : word(bytes), bytes.take<std::uint8_t>());
  if (!yolort_last_error()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // Drivers of GPUs are not ours to fuzz, and leak.
  static const bool hidden = [] {
    for (const char* name : {"VK_DRIVER_FILES", "VK_ICD_FILENAMES"}) check::set_variable(name, "/dev/null");
    return true;
  }();
  static_cast<void>(hidden);
  static const FakeModel model("fuzz_c");
  fuzz::Bytes bytes(data, size);
  yolort_detector* detectors[2] = {};
  yolort_results* results[2] = {};
  for (int left = 24; left > 0 && !bytes.rest().empty(); --left) {
    yolort_detector*& detector = detectors[bytes.within(0, 1)];
    yolort_results*& found = results[bytes.within(0, 1)];
    switch (bytes.within(0, 5)) {
      case 0:
        yolort_free(detector);
        detector = nullptr;
        open(bytes, model.path.c_str(), &detector);
        break;
      case 1: {
        yolort_detector* clone = nullptr;
        yolort_clone(detector, bytes.flag() ? &clone : nullptr);
        yolort_free(clone);
        break;
      }
      case 2:
      case 3:
        yolort_results_free(found);
        found = nullptr;
        detect(bytes, detector, &found);
        break;
      case 4: look(bytes, detector, found); break;
      case 5:
        yolort_free(detector);
        detector = nullptr;
        break;
    }
  }
  for (int i = 0; i < 2; ++i) {
    yolort_results_free(results[i]);
    yolort_free(detectors[i]);
  }
  return 0;
}
