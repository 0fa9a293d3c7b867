// Classifier: loads a model in the same way as Detector, and reads class scores.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "core/detector.h"
#include "ops/half.h"
#include "ops/head_layout.h"
#include "ops/letterbox.h"
#include "ops/resize_antialias.h"

namespace yolort {

struct __attribute__((visibility("hidden"))) Classifier::Impl {
  std::unique_ptr<Detector::Impl> network = std::make_unique<Detector::Impl>();
  AntialiasedResize resize;

  template <class Model>
  void load(const Model& model, const Options& options) {
    if (options.augment || !options.scales.empty() || !options.scale_models.empty() || options.rect == true) {
      throw std::invalid_argument("augment, scales, scale_models and rect apply only to detection; leave them out");
    }
    network->classifies = true;
    network->load(model, options);
  }

  void run_batch(const std::vector<Image>& images, std::size_t first, std::size_t count,
                 std::vector<Classification>& out);
};

namespace {

std::vector<float> scores_of(const Tensor& output, int index) {
  std::vector<float> out;
  const std::ptrdiff_t origin = index * output.batch_stride();
  for (int c = 0; c < output.shape[1]; ++c) {
    const std::ptrdiff_t at = origin + c * output.channel_stride;
    out.push_back(output.type == Type::f32 ? static_cast<const float*>(output.data)[at]
                                           : half_to_float(static_cast<const std::uint16_t*>(output.data)[at]));
    if (!std::isfinite(out.back())) throw not_finite();
  }
  return out;
}

}  // namespace

void Classifier::Impl::run_batch(const std::vector<Image>& images, std::size_t first, std::size_t count,
                                 std::vector<Classification>& out) {
  Detector::Impl& run = *network;
  const auto start = std::chrono::steady_clock::now();
  const int fixed = run.engine->input_shape().batch;
  const Tensor input = run.engine->input(fixed ? fixed : static_cast<int>(count), run.spec.height, run.spec.width);
  for (std::size_t i = 0; i < count; ++i) resize(images[first + i], input, static_cast<int>(i), run.spec.input);
  const auto ready = std::chrono::steady_clock::now();
  const std::vector<Tensor>& outputs = run.engine->run();
  run.check_outputs(outputs, input.shape[0]);
  const auto finished = std::chrono::steady_clock::now();
  for (std::size_t i = 0; i < count; ++i) out.push_back({scores_of(outputs[0], static_cast<int>(i))});
  run.speed.pre += milliseconds(ready - start);
  run.speed.inference += milliseconds(finished - ready);
  run.speed.post += milliseconds(std::chrono::steady_clock::now() - finished);
}

std::vector<int> Classification::top(std::size_t count) const {
  std::vector<int> out(probs.size());
  std::iota(out.begin(), out.end(), 0);
  const auto end = out.begin() + static_cast<std::ptrdiff_t>(std::min(count, out.size()));
  std::partial_sort(out.begin(), end, out.end(), [&](int a, int b) {
    const float left = probs[static_cast<std::size_t>(a)], right = probs[static_cast<std::size_t>(b)];
    return left != right ? left > right : a < b;
  });
  out.erase(end, out.end());
  return out;
}

Classifier::Classifier(const std::string& model, const Options& options) : impl_(std::make_unique<Impl>()) {
  impl_->load(model, options);
}
Classifier::Classifier(const ModelBytes& model, const Options& options) : impl_(std::make_unique<Impl>()) {
  impl_->load(model, options);
}
Classifier::Classifier(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Classifier::Classifier(Classifier&&) noexcept = default;
Classifier& Classifier::operator=(Classifier&&) noexcept = default;
Classifier::~Classifier() = default;

Classification Classifier::classify(const Image& image) {
  return std::move(classify(std::vector<Image>{image}).front());
}

std::vector<Classification> Classifier::classify(const std::vector<Image>& images) {
  Detector::Impl& run = *impl_->network;
  for (const Image& image : images) {
    check_image(image);
    check_channels(image, run.spec.input.channels);
    if (image.memory == Memory::host) continue;
    throw std::invalid_argument(
        "image: its pixels are in CUDA memory, which a Classifier does not read; copy them to "
        "the host first");
  }
  std::unique_lock lock(run.mutex);
  run.speed = {};
  std::vector<Classification> out;
  const auto batch = static_cast<std::size_t>(run.batch_size());
  for (std::size_t first = 0; first < images.size(); first += batch) {
    if (first) run.pause(lock);
    impl_->run_batch(images, first, std::min(batch, images.size() - first), out);
  }
  return out;
}

Classifier Classifier::clone() const {
  std::lock_guard lock(impl_->network->mutex);
  auto copy = std::make_unique<Impl>();
  copy->network = impl_->network->clone();
  return Classifier(std::move(copy));
}

const std::vector<std::string>& Classifier::names() const { return impl_->network->spec.names; }
std::array<int, 2> Classifier::imgsz() const { return {impl_->network->spec.height, impl_->network->spec.width}; }
int Classifier::channels() const { return impl_->network->spec.input.channels; }
int Classifier::batch() const {
  const InputShape shape = impl_->network->engine->input_shape();
  return shape.batch ? shape.batch : impl_->network->spec.max_batch;
}
const std::string& Classifier::engine() const { return impl_->network->engine_name; }
const std::string& Classifier::device() const { return impl_->network->device; }
const std::string& Classifier::precision() const { return impl_->network->precision; }
bool Classifier::tuned() const { return impl_->network->tuned; }
std::string Classifier::explain() const { return impl_->network->explain(); }
const std::map<std::string, std::string>& Classifier::metadata() const { return impl_->network->spec.metadata; }
Speed Classifier::speed() const {
  std::lock_guard lock(impl_->network->mutex);
  return impl_->network->speed;
}

}  // namespace yolort
