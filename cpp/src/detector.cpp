#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <mutex>
#include <utility>

#include "decode.h"
#include "engine.h"
#include "engines/nvtx.h"
#include "letterbox.h"
#include "model.h"
#include "simd/kernels.h"
#include "tuning.h"
#include "yolort/yolort.h"

namespace yolort {
namespace {

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

}  // namespace

struct Detector::Impl {
  // What the model is: the same for every clone.
  ModelSpec spec;
  Thresholds thresholds;
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

  Impl() = default;
  Impl(const Impl& other)
      : spec(other.spec),
        thresholds(other.thresholds),
        engine_name(other.engine_name),
        device(other.device),
        precision(other.precision),
        head(other.head),
        tuned(other.tuned),
        output_shapes(other.output_shapes) {}

  void load(const std::string& model, Options options);
  bool take_tuning(Options& options);
  void ask_imgsz(const Options& options);
  void resolve_imgsz(const Options& options);
  void check_outputs(const std::vector<Tensor>& outputs, int batch) const;
  int batch_size() const {
    const InputShape shape = engine->input_shape();
    return shape.batch ? shape.batch : shape.most;
  }
  void run_batch(const Image* images, int count, const Thresholds& settings, std::vector<Detections>& out);
};

/// Sets `options` and `spec` to what `yolort tune` found fastest here, where that can run.
bool Detector::Impl::take_tuning(Options& options) {
  const bool open = options.tuned && options.engine.empty() && options.device.empty() && options.precision.empty() &&
                    !options.threads && !std::getenv("YOLORT_ENGINE");
  const std::optional<Tuning> found = open ? find_tuning(spec) : std::nullopt;
  if (!found) return false;
  ModelSpec chosen = spec;
  if (!found->use.empty()) {
    std::filesystem::path beside = std::filesystem::absolute(spec.given);
    if (!beside.has_filename()) beside = beside.parent_path();
    beside.replace_filename(found->use);
    std::error_code error;
    if (options.imgsz || !std::filesystem::exists(beside, error)) return false;
    chosen = read_model(beside.string());
    // Another training, size or head would be another model.
    if (spec.source.empty() || chosen.source != spec.source || chosen.layout.name() != spec.layout.name() ||
        chosen.height != spec.height || chosen.width != spec.width || chosen.names != spec.names) {
      return false;
    }
  }
  for (const EngineEntry& entry : all_engines()) {
    if (entry.name != found->engine || !entry.unavailable().empty() || !entry.accepts(chosen)) continue;
    spec = std::move(chosen);
    options.engine = found->engine;
    options.device = found->device;
    options.precision = found->precision;
    options.threads = found->threads;
    return true;
  }
  return false;
}

void Detector::Impl::load(const std::string& model, Options options) {
  if (options.threads && *options.threads < 1) {
    throw std::invalid_argument("threads is " + std::to_string(*options.threads) + ", expected 1 or more");
  }
  const std::string& precision_asked = options.precision;
  if (!precision_asked.empty() && precision_asked != "fp32" && precision_asked != "fp16" && precision_asked != "bf16") {
    throw std::invalid_argument("precision is \"" + precision_asked + "\", expected fp32, fp16 or bf16");
  }
  spec = read_model(model);
  tuned = take_tuning(options);
  if (!options.names.empty()) spec.names = options.names;
  ask_imgsz(options);
  thresholds = options;
  check_thresholds(thresholds, spec.names.empty() ? INT32_MAX : static_cast<int>(spec.names.size()));

  const EngineEntry entry = choose_engine(spec, options);
  engine_name = entry.name;
  engine = entry.load(spec, options);
  device = engine->device();
  precision = engine->precision();
  if (precision.empty()) precision = spec.precision.empty() ? "fp32" : spec.precision;
  if (spec.precision == "int8" && precision != "int8") {  // what is not INT8 in it has a precision of its own
    precision = precision == "fp32" ? "int8" : "int8+" + precision;
  }
  resolve_imgsz(options);
  if (spec.names.empty()) {
    throw ModelError("model \"" + spec.given + "\" carries no class names (" +
                     (spec.format == Format::ncnn || spec.format == Format::openvino ? "no metadata.yaml beside it"
                                                                                     : "no 'names' in its metadata") +
                     "); give names=");
  }
  // The outputs' shapes are known once the engine has run; a model that fits no head fails here, not at first use.
  const int batch = std::max(engine->input_shape().batch, 1);
  engine->input(batch, spec.height, spec.width);
  const std::vector<Tensor>& outputs = engine->run();
  try {
    spec.layout = resolve_layout(spec.layout, static_cast<int>(spec.names.size()), outputs, spec.height, spec.width);
  } catch (const ModelError& what) {
    throw ModelError("model \"" + spec.given + "\": " + what.what());
  }
  head = spec.layout.name();
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

void Detector::Impl::run_batch(const Image* images, int count, const Thresholds& settings,
                               std::vector<Detections>& out) {
  geometries.resize(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    geometries[static_cast<std::size_t>(i)] = Geometry::fit(images[i].width, images[i].height, spec.width, spec.height);
  }
  const Job job{images, geometries.data(), count, spec.height, spec.width, &spec.layout, &settings};
  if (engine->detect(job, out, speed)) return;
  for (int i = 0; i < count; ++i) {
    if (images[i].memory == Memory::host) continue;
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
    letterbox(images[i], geometries[slot], input, i, padded[slot] == geometries[slot]);
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

Detector::Detector(const std::string& model, const Options& options) : impl_(std::make_unique<Impl>()) {
  impl_->load(model, options);
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
  check_thresholds(thresholds, impl_->spec.layout.classes);
  for (const Image& image : images) check_image(image);
  std::lock_guard lock(impl_->mutex);
  impl_->speed = {};
  std::vector<Detections> out;
  out.reserve(images.size());
  const auto batch = static_cast<std::size_t>(impl_->batch_size());
  for (std::size_t at = 0; at < images.size(); at += batch) {
    impl_->run_batch(&images[at], static_cast<int>(std::min(batch, images.size() - at)), thresholds, out);
  }
  return out;
}

std::vector<Array> Detector::infer(const float* input, int batch) {
  Impl& impl = *impl_;
  std::lock_guard lock(impl.mutex);
  const InputShape shape = impl.engine->input_shape();
  if (batch < 1 || (shape.batch ? batch != shape.batch : batch > shape.most)) {
    throw std::invalid_argument("infer: the batch is " + std::to_string(batch) + ", expected " +
                                (shape.batch ? std::to_string(shape.batch) : "1 to " + std::to_string(shape.most)));
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
  auto copy = std::make_unique<Impl>(*impl_);
  std::lock_guard lock(impl_->mutex);
  copy->engine = impl_->engine->clone();
  return Detector(std::move(copy));
}

const std::vector<std::string>& Detector::names() const { return impl_->spec.names; }
std::array<int, 2> Detector::imgsz() const { return {impl_->spec.height, impl_->spec.width}; }
int Detector::batch() const { return impl_->engine->input_shape().batch; }
const Thresholds& Detector::thresholds() const { return impl_->thresholds; }
const std::string& Detector::engine() const { return impl_->engine_name; }
const std::string& Detector::device() const { return impl_->device; }
const std::string& Detector::precision() const { return impl_->precision; }
bool Detector::tuned() const { return impl_->tuned; }
const std::string& Detector::head() const { return impl_->head; }
const std::map<std::string, std::string>& Detector::metadata() const { return impl_->spec.metadata; }
Speed Detector::speed() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->speed;
}

}  // namespace yolort
