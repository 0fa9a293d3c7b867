#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <map>
#include <mutex>
#include <set>
#include <utility>

#include "augment.h"
#include "decode.h"
#include "device_name.h"
#include "engine.h"
#include "engines/nvtx.h"
#include "letterbox.h"
#include "model.h"
#include "simd/kernels.h"
#include "tuning.h"
#include "yolort/yolort.h"

namespace yolort {
namespace {

namespace fs = std::filesystem;

ModelError cannot_run(const fs::path& record, const std::string& what) {
  return ModelError("tuning record " + record.string() + " asks for what cannot run (" + what +
                    "); delete it or run yolort tune again");
}

/// Of a network input: 4 GiB of float32.
constexpr std::int64_t max_input_elements = std::int64_t{1} << 30;

double milliseconds(std::chrono::steady_clock::duration time) {
  return std::chrono::duration<double, std::milli>(time).count();
}

Array to_array(const Tensor& tensor) {
  Array out{tensor.shape, {}};
  std::size_t cells = 1;
  for (std::size_t d = 2; d < tensor.shape.size(); ++d) cells *= static_cast<std::size_t>(tensor.shape[d]);
  for (std::ptrdiff_t channel = 0; channel < tensor.shape[0] * tensor.shape[1]; ++channel) {
    const std::ptrdiff_t at = channel * tensor.channel_stride;
    if (tensor.type == Type::f32) {
      const float* from = static_cast<const float*>(tensor.data) + at;
      out.values.insert(out.values.end(), from, from + cells);
    } else {
      const std::uint16_t* from = static_cast<const std::uint16_t*>(tensor.data) + at;
      std::transform(from, from + cells, std::back_inserter(out.values), half_to_float);
    }
  }
  return out;
}

/// An image and how it lies in the network input; see Geometry::fit.
struct Job {
  const Image* image;
  double fraction = 1;
  bool flip = false;
};

}  // namespace

struct __attribute__((visibility("hidden"))) Detector::Impl {
  // What the model is: the same for every clone.
  ModelSpec spec;
  Thresholds thresholds;
  std::function<void()> between_runs;
  std::string engine_name, device, precision, head;
  bool tuned = false;

  // What runs: one of each clone, under the mutex.
  std::unique_ptr<Engine> engine;
  Letterbox letterbox;
  Decoder decoder;
  Speed speed;
  std::mutex mutex;

  /// What every run must give, the batch aside: found at load, so that decoding can trust the shapes.
  std::vector<std::vector<int>> output_shapes;

  /// The geometry whose padding a slot of the input buffer holds.
  const void* padded_buffer = nullptr;
  std::vector<int> padded_shape;
  std::vector<Geometry> padded;
  std::vector<Geometry> geometries;

  // Test-time augmentation: its views, of each where it runs (0: here, i: runners[i - 1]) and how its images lie there.
  struct Look {
    std::size_t runner;
    double fraction;
    bool flip;
  };
  Merge merge = Merge::wbf;
  std::vector<View> views;
  std::vector<Look> looks;
  std::vector<std::unique_ptr<Impl>> runners;  ///< other input sizes and artefacts

  Impl() = default;
  Impl(const Impl& other)
      : spec(other.spec),
        thresholds(other.thresholds),
        between_runs(other.between_runs),
        engine_name(other.engine_name),
        device(other.device),
        precision(other.precision),
        head(other.head),
        tuned(other.tuned),
        output_shapes(other.output_shapes),
        merge(other.merge),
        views(other.views),
        looks(other.looks) {}

  /// On the same weights, with its own buffers.
  std::unique_ptr<Impl> clone() const {
    auto copy = std::make_unique<Impl>(*this);
    copy->engine = engine->clone();
    for (const auto& runner : runners) copy->runners.push_back(runner->clone());
    return copy;
  }

  void load(const std::string& model, Options options);
  fs::path take_tuning(Options& options);
  void ask_imgsz(const Options& options);
  void resolve_imgsz(const Options& options);
  void probe();
  std::unique_ptr<Impl> clone_for(const View& view) const;
  void prepare_views(const Options& options);
  Artefact artefact() const;
  void check_outputs(const std::vector<Tensor>& outputs, int batch) const;
  /// Most images of one run.
  int batch_size() const {
    const InputShape shape = engine->input_shape();
    if (shape.batch) return shape.batch;
    return spec.max_batch ? std::min(shape.most, spec.max_batch) : shape.most;
  }
  void run_batch(const Job* jobs, int count, const Thresholds& settings, std::vector<Detections>& out);
  void pause(std::unique_lock<std::mutex>& lock);
  std::vector<Detections> run(const std::vector<Job>& jobs, const Thresholds& settings,
                              std::unique_lock<std::mutex>& lock);
  std::vector<Detections> run_views(const std::vector<Image>& images, const Thresholds& settings,
                                    std::unique_lock<std::mutex>& lock);
};

/// Sets `options` and `spec` to what `yolort tune` found fastest here, where that can run; gives the record's path.
fs::path Detector::Impl::take_tuning(Options& options) {
  const bool open = options.tuned && options.engine.empty() && options.device.empty() && options.precision.empty() &&
                    !options.threads && !std::getenv("YOLORT_ENGINE");
  const std::optional<Tuning> found = open ? find_tuning(spec) : std::nullopt;
  if (!found) return {};
  ModelSpec chosen = spec;
  if (!found->use.empty()) {
    fs::path beside = fs::absolute(spec.given);
    if (!beside.has_filename()) beside = beside.parent_path();
    beside.replace_filename(found->use);
    std::error_code error;
    if (options.imgsz || !fs::exists(beside, error)) return {};
    try {
      chosen = read_model(beside.string());
    } catch (const Error& what) {
      throw cannot_run(found->record, what.what());
    }
    // Another training, size or head would be another model.
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

void Detector::Impl::load(const std::string& model, Options options) {
  if (options.threads && (*options.threads < 1 || *options.threads > max_threads())) {
    throw std::invalid_argument("threads is " + std::to_string(*options.threads) + ", expected 1 to " +
                                std::to_string(max_threads()) + ", 4 for each core here");
  }
  const std::string& precision_asked = options.precision;
  static const std::set<std::string> precisions = {"", "fp32", "fp16", "fp16-storage", "bf16"};
  if (!precisions.count(precision_asked)) {
    throw std::invalid_argument("precision is \"" + precision_asked + "\", expected fp32, fp16, fp16-storage or bf16");
  }
  spec = read_model(model);
  const fs::path record = take_tuning(options);
  tuned = !record.empty();
  if (!options.names.empty()) spec.names = options.names;
  ask_imgsz(options);
  thresholds = options;
  between_runs = options.between_runs;
  check_thresholds(thresholds, spec.names.empty() ? INT32_MAX : static_cast<int>(spec.names.size()));

  try {
    options.device = canonical_device(options.device);
    const EngineEntry entry = choose_engine(spec, options);
    engine_name = entry.name;
    engine = entry.load(spec, options);
  } catch (const std::exception& what) {
    if (tuned) throw cannot_run(record, what.what());
    throw;
  }
  device = engine->device();
  precision = engine->precision();
  if (precision.empty()) precision = spec.precision.empty() ? "fp32" : spec.precision;
  if (spec.precision == "int8" && precision != "int8") {  // what is not INT8 in it has a precision of its own
    precision = precision == "fp32" ? "int8" : "int8+" + precision;
  }
  resolve_imgsz(options);
  if (spec.names.empty()) {
    const bool beside = spec.format == Format::ncnn || spec.format == Format::openvino;
    std::error_code error;
    const bool missing = beside && !fs::exists(spec.graph.parent_path() / "metadata.yaml", error);
    throw ModelError("model \"" + spec.given + "\" carries no class names (" +
                     (missing  ? "no metadata.yaml beside it"
                      : beside ? "no 'names' in the metadata.yaml beside it"
                               : "no 'names' in its metadata") +
                     "); give names=");
  }
  probe();
}

/// The outputs' shapes are known once the engine has run; a model that fits no head fails here, not at first use.
void Detector::Impl::probe() {
  const int batch = std::max(engine->input_shape().batch, 1);
  engine->input(batch, spec.height, spec.width);
  const std::vector<Tensor>& outputs = engine->run();
  const bool told = spec.layout.head != Head::unknown;
  try {
    spec.layout = resolve_layout(spec.layout, static_cast<int>(spec.names.size()), outputs, spec.height, spec.width);
  } catch (const ModelError& what) {
    throw ModelError("model \"" + spec.given + "\": " + what.what());
  }
  if (!told && spec.layout.head == Head::end2end) spec.max_batch = 1;  // perhaps an NMS that is unrolled for one image
  head = spec.layout.name();
  output_shapes.clear();
  for (const Tensor& output : outputs) output_shapes.push_back(output.shape);
  check_outputs(outputs, batch);
}

void Detector::Impl::check_outputs(const std::vector<Tensor>& outputs, int batch) const {
  bool same = outputs.size() == output_shapes.size();
  for (std::size_t i = 0; same && i < outputs.size(); ++i) {
    const std::vector<int>&shape = outputs[i].shape, &expected = output_shapes[i];
    same = shape.size() == expected.size() && shape[0] == batch &&
           std::equal(shape.begin() + 1, shape.end(), expected.begin() + 1);
  }
  if (!same) {
    throw EngineError("engine \"" + engine_name +
                      "\": the outputs' shapes changed from one run to the next, or lack a "
                      "row for each of the " +
                      std::to_string(batch) + " images");
  }
}

/// The input size asked for, or the model's own.
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

/// The size that the engine has fixed wins over the metadata, and refuses another one that was asked for.
void Detector::Impl::resolve_imgsz(const Options& options) {
  const InputShape fixed = engine->input_shape();
  const auto resolve = [&](int& side, int fixed_side) {
    if (options.imgsz && fixed_side && side != fixed_side) {
      throw std::invalid_argument("imgsz is " + std::to_string(spec.height) + " x " + std::to_string(spec.width) +
                                  ", but model \"" + spec.given + "\" is fixed to " + std::to_string(fixed.height) +
                                  " x " + std::to_string(fixed.width));
    }
    if (fixed_side) side = fixed_side;
  };
  resolve(spec.height, fixed.height);
  resolve(spec.width, fixed.width);
  if (!spec.height || !spec.width) throw unknown_imgsz(spec);
  const std::int64_t elements = std::int64_t{3} * spec.height * spec.width;
  if (spec.height > max_imgsz || spec.width > max_imgsz || fixed.batch > max_input_elements / elements) {
    throw ModelError("model \"" + spec.given + "\" takes " + std::to_string(fixed.batch) + " images of " +
                     std::to_string(spec.height) + " x " + std::to_string(spec.width) + ", more than is run here");
  }
}

Artefact Detector::Impl::artefact() const {
  const InputShape fixed = engine->input_shape();
  const std::vector<int>& strides = spec.layout.strides;
  Artefact out{spec.given, spec.height, spec.width, fixed.height || fixed.width};
  if (!strides.empty()) out.stride = *std::max_element(strides.begin(), strides.end());
  return out;
}

/// On the same weights, at the input size of a view.
std::unique_ptr<Detector::Impl> Detector::Impl::clone_for(const View& view) const {
  std::unique_ptr<Impl> out = clone();
  out->spec.height = view.imgsz[0];
  out->spec.width = view.imgsz[1];
  try {
    out->probe();
  } catch (const Error& what) {
    throw EngineError("scales: model \"" + view.model + "\" cannot run at " + std::to_string(view.imgsz[0]) + " x " +
                      std::to_string(view.imgsz[1]) + " for the scale " + std::to_string(view.scale) + ": " +
                      what.what());
  }
  return out;
}

/// Opens what the views run on, and runs each once: a size that the network cannot take fails here.
void Detector::Impl::prepare_views(const Options& options) {
  if (!options.augment && options.scales.empty() && options.scale_models.empty()) return;
  merge = options.merge;
  std::vector<std::unique_ptr<Impl>> others;
  std::vector<Artefact> artefacts = {artefact()};
  for (const std::string& model : options.scale_models) {
    Options own = options;
    own.imgsz.reset();
    others.push_back(std::make_unique<Impl>());
    others.back()->load(model, own);
    if (others.back()->spec.names != spec.names) {
      throw ModelError("scale_models: model \"" + model + "\" has other classes than \"" + spec.given + "\"");
    }
    artefacts.push_back(others.back()->artefact());
  }
  const std::vector<PlacedView> placed = plan_views(options.scales, options.flip, artefacts);
  std::vector<std::unique_ptr<Impl>> made;
  std::vector<Look> planned;
  std::map<std::pair<std::size_t, std::array<int, 2>>, std::size_t> runner_of;  // by artefact and input size
  runner_of[{0, {spec.height, spec.width}}] = 0;
  for (const PlacedView& view : placed) {
    const auto [at, is_new] = runner_of.try_emplace({view.artefact, view.imgsz}, made.size() + 1);
    if (is_new) made.push_back((view.artefact ? *others[view.artefact - 1] : *this).clone_for(view));
    planned.push_back({at->second, view.fraction, view.flip});
  }
  views.assign(placed.begin(), placed.end());
  looks = std::move(planned);
  runners = std::move(made);
}

void Detector::Impl::run_batch(const Job* jobs, int count, const Thresholds& settings, std::vector<Detections>& out) {
  geometries.clear();
  std::vector<Image> images;
  for (int i = 0; i < count; ++i) {
    images.push_back(*jobs[i].image);
    geometries.push_back(Geometry::fit(images.back().width, images.back().height, spec.width, spec.height,
                                       jobs[i].fraction, jobs[i].flip));
  }
  if (engine->detect({images, geometries, spec.height, spec.width, spec.layout, settings}, out, speed)) return;
  for (const Image& image : images) {
    if (image.memory == Memory::host) continue;
    throw std::invalid_argument("image: its pixels are in CUDA memory, which engine \"" + engine_name + "\" on " +
                                device + " does not read; copy them to the host first");
  }
  const auto start = std::chrono::steady_clock::now();
  const int fixed = engine->input_shape().batch;
  const Tensor input = engine->input(fixed ? fixed : count, spec.height, spec.width);
  if (input.data != padded_buffer || input.shape != padded_shape) {
    padded_buffer = input.data;
    padded_shape = input.shape;
    padded.clear();
  }
  padded.resize(static_cast<std::size_t>(input.shape[0]));
  std::optional<NvtxRange> range("pre");
  for (int i = 0; i < count; ++i) {
    const auto slot = static_cast<std::size_t>(i);
    letterbox(images[slot], geometries[slot], input, i, padded[slot] == geometries[slot]);
    padded[slot] = geometries[slot];
  }
  const auto ready = std::chrono::steady_clock::now();
  range.emplace("inference");
  const std::vector<Tensor>& outputs = engine->run();
  check_outputs(outputs, input.shape[0]);
  const auto done = std::chrono::steady_clock::now();
  range.emplace("post");
  for (int i = 0; i < count; ++i) {
    out.push_back(decoder(spec.layout, outputs, i, geometries[static_cast<std::size_t>(i)], settings));
  }
  speed.pre += milliseconds(ready - start);
  speed.inference += milliseconds(done - ready);
  speed.post += milliseconds(std::chrono::steady_clock::now() - done);
}

/// Between two runs: `lock`, that of the Detector which is called, is open meanwhile, so that the hook may call it,
/// too.
void Detector::Impl::pause(std::unique_lock<std::mutex>& lock) {
  if (!between_runs) return;
  const Speed so_far = speed;
  lock.unlock();
  between_runs();
  lock.lock();
  speed = so_far;
}

/// One result a job, in order.
std::vector<Detections> Detector::Impl::run(const std::vector<Job>& jobs, const Thresholds& settings,
                                            std::unique_lock<std::mutex>& lock) {
  speed = {};
  std::vector<Detections> out;
  out.reserve(jobs.size());
  const auto batch = static_cast<std::size_t>(batch_size());
  for (std::size_t at = 0; at < jobs.size(); at += batch) {
    if (at) pause(lock);
    run_batch(&jobs[at], static_cast<int>(std::min(batch, jobs.size() - at)), settings, out);
  }
  return out;
}

/// One result an image: all views of a network input run together, as far as the engine takes batches.
std::vector<Detections> Detector::Impl::run_views(const std::vector<Image>& images, const Thresholds& settings,
                                                  std::unique_lock<std::mutex>& lock) {
  const Thresholds each = view_thresholds(settings, merge, looks.size());
  std::vector<std::vector<Detections>> found(images.size());
  Speed total;
  for (std::size_t i = 0; i <= runners.size(); ++i) {
    Impl& runner = i ? *runners[i - 1] : *this;
    if (i) pause(lock);
    std::vector<Job> jobs;
    std::vector<std::size_t> image_of;
    for (std::size_t image = 0; image < images.size(); ++image) {
      for (const Look& look : looks) {
        if (look.runner != i) continue;
        jobs.push_back({&images[image], look.fraction, look.flip});
        image_of.push_back(image);
      }
    }
    std::vector<Detections> of_jobs = runner.run(jobs, each, lock);
    for (std::size_t job = 0; job < jobs.size(); ++job) found[image_of[job]].push_back(std::move(of_jobs[job]));
    total.pre += runner.speed.pre;
    total.inference += runner.speed.inference;
    total.post += runner.speed.post;
  }
  const auto start = std::chrono::steady_clock::now();
  std::vector<Detections> out;
  for (const std::vector<Detections>& one : found) out.push_back(merge_views(one, merge, settings, spec.layout.nms));
  total.post += milliseconds(std::chrono::steady_clock::now() - start);
  speed = total;
  return out;
}

Detector::Detector(const std::string& model, const Options& options) : impl_(std::make_unique<Impl>()) {
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
    throw std::invalid_argument("augment: this Detector was made without; construct it with augment or scales");
  }
  check_thresholds(thresholds, impl_->spec.layout.classes);
  for (const Image& image : images) check_image(image);
  std::unique_lock lock(impl_->mutex);
  if (augment) return impl_->run_views(images, thresholds, lock);
  std::vector<Job> jobs;
  for (const Image& image : images) jobs.push_back({&image});
  return impl_->run(jobs, thresholds, lock);
}

std::vector<Array> Detector::infer(const float* input, int batch) {
  Impl& impl = *impl_;
  std::lock_guard lock(impl.mutex);
  const InputShape shape = impl.engine->input_shape();
  const int most = impl.batch_size();
  if (batch < 1 || (shape.batch ? batch != shape.batch : batch > most)) {
    throw std::invalid_argument("infer: the batch is " + std::to_string(batch) + ", expected " +
                                (shape.batch ? std::to_string(shape.batch) : "1 to " + std::to_string(most)));
  }
  const Tensor to = impl.engine->input(batch, impl.spec.height, impl.spec.width);
  impl.padded_buffer = nullptr;  // what the buffer held of an image is gone
  const std::size_t plane = static_cast<std::size_t>(impl.spec.height) * static_cast<std::size_t>(impl.spec.width);
  for (int i = 0; i < batch; ++i) {
    for (int c = 0; c < 3; ++c) {
      const std::ptrdiff_t at = i * to.batch_stride() + c * to.channel_stride;
      if (to.type == Type::f32) {
        std::copy_n(input, plane, static_cast<float*>(to.data) + at);
      } else {
        std::transform(input, input + plane, static_cast<std::uint16_t*>(to.data) + at, float_to_half);
      }
      input += plane;
    }
  }
  const std::vector<Tensor>& outputs = impl.engine->run();
  impl.check_outputs(outputs, batch);
  std::vector<Array> out;
  for (const Tensor& from : outputs) out.push_back(to_array(from));
  return out;
}

std::vector<LayerTime> Detector::layer_times() {
  std::lock_guard lock(impl_->mutex);
  return impl_->engine->layer_times();
}

Detector Detector::clone() const {
  std::lock_guard lock(impl_->mutex);
  return Detector(impl_->clone());
}

const std::vector<std::string>& Detector::names() const { return impl_->spec.names; }
std::array<int, 2> Detector::imgsz() const { return {impl_->spec.height, impl_->spec.width}; }
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
const std::string& Detector::head() const { return impl_->head; }
const std::map<std::string, std::string>& Detector::metadata() const { return impl_->spec.metadata; }
const std::vector<View>& Detector::views() const { return impl_->views; }
Speed Detector::speed() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->speed;
}

}  // namespace yolort
