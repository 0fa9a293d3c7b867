// Loads a model; the public methods.
#include "core/detector.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <set>
#include <utility>

#include "core/engine_choice.h"
#include "core/input_format.h"
#include "core/tuning.h"
#include "model/grid_sample.h"
#include "ops/head_layout.h"
#include "ops/keypoints.h"
#include "platform/device_name.h"
#include "platform/warning.h"

namespace yolort {
namespace {

namespace fs = std::filesystem;

ModelError cannot_run(const fs::path& record, const std::string& what) {
  return ModelError("tuning record " + record.string() + " asks for what cannot run (" + what +
                    "); delete it or run yolort tune again");
}

ModelError unknown_names(const ModelSpec& spec) {
  const bool beside = spec.format == Format::ncnn || spec.format == Format::openvino;
  std::error_code error;
  const bool missing = beside && !fs::exists(spec.graph.parent_path() / "metadata.yaml", error);
  return ModelError("model \"" + spec.path + "\" carries no class names (" +
                    (missing  ? "no metadata.yaml beside it"
                     : beside ? "no 'names' in the metadata.yaml beside it"
                              : "no 'names' in its metadata") +
                    "); give names=");
}

void check_options(const Options& options) {
  if (options.threads && (*options.threads < 1 || *options.threads > max_threads())) {
    throw std::invalid_argument("threads is " + std::to_string(*options.threads) + ", expected 1 to " +
                                std::to_string(max_threads()) + ", 4 per core");
  }
  const std::string& precision_asked = options.precision;
  static const std::set<std::string> precisions = {
      "", "fp32", "fp16", "fp16-storage", "bf16", "int8", "int8+fp16", "int8+fp16-storage", "int8+bf16"};
  if (!precisions.count(precision_asked)) {
    throw std::invalid_argument("precision is \"" + precision_asked +
                                "\", expected fp32, fp16, fp16-storage, bf16, or for an INT8 model int8 or "
                                "int8+bf16");
  }
}

}  // namespace

/// Applies the record of `yolort tune` for this machine to `options` and `spec`, if it can run here. Returns the path
/// of the record.
fs::path Detector::Impl::take_tuning(Options& options) {
  const bool open = options.tuned && spec.contents.empty() && options.engine.empty() && options.device.empty() &&
                    options.precision.empty() && !options.threads && options.engine_options.empty() &&
                    !std::getenv("YOLORT_ENGINE");
  const std::optional<Tuning> found = open ? find_tuning(spec) : std::nullopt;
  if (!found) return {};
  ModelSpec chosen = spec;
  if (!found->use.empty()) {
    fs::path beside = fs::absolute(spec.path);
    if (!beside.has_filename()) beside = beside.parent_path();
    beside.replace_filename(found->use);
    std::error_code error;
    if (options.imgsz || !fs::exists(beside, error)) return {};
    try {
      chosen = read_model(beside.string());
    } catch (const Error& what) {
      throw cannot_run(found->record, what.what());
    }
    // A model with other weights, size or head is a different one.
    if (spec.source.empty() || chosen.source != spec.source || chosen.layout.name() != spec.layout.name() ||
        chosen.height != spec.height || chosen.width != spec.width || chosen.names != spec.names) {
      return {};
    }
  }
  for (const EngineEntry& entry : all_engines()) {
    if (entry.name != found->engine || !entry.unavailable().empty() || !entry.accepts(chosen)) continue;
    spec = std::move(chosen);
    options.engine = found->engine;
    options.device = found->device;
    options.precision = found->precision;
    options.threads = found->threads;
    return found->record;
  }
  return {};
}

void Detector::Impl::load(const std::string& model, const Options& options) {
  check_options(options);
  load(read_model(model), options);
}

void Detector::Impl::load(const ModelBytes& model, const Options& options) {
  check_options(options);
  load(read_model({static_cast<const char*>(model.data), model.size}, model.format), options);
}

void Detector::Impl::load(ModelSpec model, Options options) {
  spec = std::move(model);
  check_task();
  const fs::path record = take_tuning(options);
  tuned = !record.empty();
  if (tuned) engine_why = "yolort tune recorded it in " + record.string();
  if (!options.names.empty()) {
    spec.names = options.names;
    spec.placeholders = false;
  }
  take_keypoints(options);
  ask_imgsz(options);
  ask_input(spec.input, options);
  thresholds = options;
  threads = options.threads.value_or(threads);
  decoder = Decoder(kernels(), threads);
  between_runs = options.between_runs;

  try {
    options.device = canonical_device(options.device);
    open_first(options);
  } catch (const std::exception& what) {
    if (tuned) throw cannot_run(record, what.what());
    throw;
  }
  check_thresholds(thresholds, spec.layout.classes);
  spec.contents = {};
}

/// A model without a recorded task gets the task it is opened for.
void Detector::Impl::check_task() {
  if (classifies && !spec.metadata.count("task")) {
    spec.layout.task = Task::classify;
    spec.layout.head = Head::probs;
  }
  if ((spec.layout.task == Task::classify) == classifies) return;
  throw ModelError("model \"" + spec.path + "\": its task is '" + to_text(spec.layout.task) + "'; open it with " +
                   (classifies ? "Detector" : "Classifier"));
}

/// Keypoint settings from the options, otherwise from the model, otherwise COCO's.
void Detector::Impl::take_keypoints(const Options& options) {
  const auto take = [&](const char* name, const auto& asked, auto& known) {
    if (asked.empty()) return;
    if (spec.layout.task != Task::pose) {
      throw std::invalid_argument(std::string(name) + " is only for pose models; the task of \"" + spec.path +
                                  "\" is " + to_text(spec.layout.task));
    }
    const std::string problem = problem_of(asked, spec.layout.kpt_shape[0]);
    if (!problem.empty()) throw std::invalid_argument(name + (" " + problem));
    known = asked;
  };
  take("flip_idx", options.flip_idx, spec.layout.flip_idx);
  take("skeleton", options.skeleton, spec.skeleton);
  spec.skeleton = limbs_of(spec);
}

/// Opens the model in the first engine that can load it, cut at its raw maps if possible.
void Detector::Impl::open_first(const Options& options) {
  const ModelSpec before = spec;
  for (std::string first_failure;;) {
    EngineChoice choice;
    try {
      choice = choose_engine(before, options, failures);
    } catch (const EngineError&) {
      if (failures.empty()) throw;
      throw ModelError(first_failure);
    }
    std::string failure;
    for (const bool whole : {false, true}) {
      if (whole && !before.may_be_cut()) continue;
      try {
        spec = before;
        spec.whole = whole;
        open(choice.entry, options);
        if (!tuned) engine_why = choice.why;
        if (!failures.empty()) {
          warn(spec.path + " runs on " + engine_name + ", because another engine failed: " + first_failure);
        }
        return;
      } catch (const ModelError& what) {
        if (failure.empty()) failure = what.what();
      }
    }
    if (failures.empty()) first_failure = failure;
    failures[choice.entry.name] = failure;
  }
}

/// Loads the model into an engine and runs it once.
void Detector::Impl::open(const EngineEntry& entry, const Options& options) {
  engine_name = entry.name;
  output_shapes.clear();
  if (!options.engine_options.empty() && !entry.takes_options) {
    throw std::invalid_argument("engine_options: engine \"" + engine_name + "\" has no options");
  }
  Options own = options;
  own.precision = float_precision(spec, entry, options.precision);
  engine = entry.load(spec, own);
  device = engine->device();
  precision = engine->precision();
  if (precision.empty()) precision = spec.precision.empty() ? "fp32" : spec.precision;
  if (spec.precision == "int8" && precision != "int8") {  // its float layers run in the engine's precision: report both
    precision = precision == "fp32" ? "int8" : "int8+" + precision;
  }
  complete_input(spec, engine->input_shape().channels);
  resolve_imgsz(options);
  if (spec.names.empty()) throw unknown_names(spec);
  head = engine->is_cut() ? spec.layout.name() : "";
  if (engine->is_cut()) spec.layout.head = Head::raw;
  probe();
  if (!spec.input.stretch) spec.input.stretch = spec.layout.transformer;
  resolve_rect(options);
  if (head.empty()) head = spec.layout.name();
  precision_why = tuned                                                    ? "yolort tune recorded it"
                  : !options.precision.empty()                             ? "precision asks for it"
                  : entry.computes_as_written                              ? "what the file holds"
                  : precision == "fp32" && spec.layout.head == Head::probs ? "scores of classes need fp32"
                  : precision == "fp32" && spec.layout.head != Head::raw
                      ? "the graph decodes its boxes, which needs fp32"
                  : precision == "fp32" || precision == "int8" ? "the fastest of this engine on this device"
                                                               : "faster here than fp32, with the same accuracy";
}

/// The requested input size, or the model's own.
void Detector::Impl::ask_imgsz(const Options& options) {
  if (!options.imgsz) return;
  const auto [height, width] = *options.imgsz;
  if (height < 1 || width < 1 || height > max_imgsz || width > max_imgsz) {
    throw std::invalid_argument("imgsz is " + std::to_string(height) + " x " + std::to_string(width) +
                                ", expected 1 to " + std::to_string(max_imgsz));
  }
  spec.height = height;
  spec.width = width;
}

/// Output shapes are known once the engine has run. A model that fits no head fails here, not at first use.
void Detector::Impl::probe() {
  const int batch = std::max(engine->input_shape().batch, 1);
  engine->input(batch, spec.height, spec.width);
  const std::vector<Tensor>& outputs = engine->run();
  const bool known = spec.layout.head != Head::unknown;
  const int classes = spec.placeholders ? 0 : static_cast<int>(spec.names.size());
  const bool first = output_shapes.empty();  // a clone of another size has the head already
  if (first && outputs.size() == 1 && outputs[0].shape.size() == 3 && !spec.layout.transformer && !engine->is_cut() &&
      outputs[0].shape[1] != 4 + classes + spec.layout.extra) {
    spec.layout.transformer = samples_grid(spec);
  }
  try {
    spec.layout = resolve_layout(spec.layout, classes, outputs, spec.height, spec.width);
  } catch (const ModelError& what) {
    throw ModelError("model \"" + spec.path + "\": " + what.what());
  }
  name_classes();
  if (!known && spec.layout.head == Head::end2end) spec.max_batch = 1;  // its NMS may be unrolled for one image
  output_shapes.clear();
  for (const Tensor& output : outputs) output_shapes.push_back(output.shape);
  check_outputs(outputs, batch);
}

/// One placeholder per class of the head, or all of them if the number of classes is unknown.
void Detector::Impl::name_classes() {
  if (!spec.placeholders) return;
  if (!spec.layout.classes) spec.layout.classes = static_cast<int>(spec.names.size());
  spec.names.clear();
  for (int i = 0; i < spec.layout.classes; ++i) spec.names.push_back("class" + std::to_string(i));
}

std::string Detector::Impl::explain() const {
  return engine_name + " on " + device + ": " + engine_why + "\n" + precision + ": " + precision_why +
         explain_others(spec, engine_name, failures);
}

Detector::Detector(const std::string& model, const Options& options) : impl_(std::make_unique<Impl>()) {
  impl_->load(model, options);
  impl_->prepare_views(options);
}
Detector::Detector(const ModelBytes& model, const Options& options) : impl_(std::make_unique<Impl>()) {
  impl_->load(model, options);
  impl_->prepare_views(options);
}
Detector::Detector(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Detector::Detector(Detector&&) noexcept = default;
Detector& Detector::operator=(Detector&&) noexcept = default;
Detector::~Detector() = default;

Detections Detector::detect(const Image& image) { return detect(image, impl_->thresholds); }

Detections Detector::detect(const Image& image, const Thresholds& thresholds) {
  return std::move(detect(std::vector<Image>{image}, thresholds).front());
}

std::vector<Detections> Detector::detect(const std::vector<Image>& images, const Thresholds& thresholds) {
  return detect(images, thresholds, !impl_->views.empty());
}

std::vector<Detections> Detector::detect(const std::vector<Image>& images, const Thresholds& thresholds, bool augment) {
  if (augment && impl_->views.empty()) {
    throw std::invalid_argument(
        "augment: this Detector was constructed without augmentation; construct it with augment or scales");
  }
  check_thresholds(thresholds, impl_->spec.layout.classes);
  for (const Image& image : images) {
    check_image(image);
    check_channels(image, impl_->spec.input.channels);
  }
  std::unique_lock lock(impl_->mutex);
  if (augment) return impl_->run_views(images, thresholds, lock);
  std::vector<Job> jobs;
  for (const Image& image : images) jobs.push_back(impl_->place(image));
  return impl_->run(jobs, thresholds, lock);
}

std::vector<LayerTime> Detector::layer_times() {
  std::lock_guard lock(impl_->mutex);
  std::vector<LayerTime> out;
  if (!impl_->sizes.empty()) out = impl_->sizes.front()->engine->layer_times();
  return out.empty() ? impl_->engine->layer_times() : out;
}

Detector Detector::clone() const {
  std::lock_guard lock(impl_->mutex);
  return Detector(impl_->clone());
}

const std::vector<std::string>& Detector::names() const { return impl_->spec.names; }
std::array<int, 2> Detector::imgsz() const { return {impl_->spec.height, impl_->spec.width}; }
int Detector::channels() const { return impl_->spec.input.channels; }
bool Detector::rect() const { return impl_->rect; }
int Detector::batch() const {
  const InputShape shape = impl_->engine->input_shape();
  return shape.batch ? shape.batch : impl_->spec.max_batch;
}
const Thresholds& Detector::thresholds() const { return impl_->thresholds; }
void Detector::check(const Thresholds& thresholds) const { check_thresholds(thresholds, impl_->spec.layout.classes); }
const std::string& Detector::engine() const { return impl_->engine_name; }
const std::string& Detector::device() const { return impl_->device; }
const std::string& Detector::precision() const { return impl_->precision; }
bool Detector::tuned() const { return impl_->tuned; }
std::string Detector::explain() const { return impl_->explain(); }
const std::string& Detector::head() const { return impl_->head; }
Task Detector::task() const { return impl_->spec.layout.task; }
const Skeleton& Detector::skeleton() const { return impl_->spec.skeleton; }
const std::map<std::string, std::string>& Detector::metadata() const { return impl_->spec.metadata; }
const std::vector<View>& Detector::views() const { return impl_->views; }
Speed Detector::speed() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->speed;
}

}  // namespace yolort
