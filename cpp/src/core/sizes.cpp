// Rectangles: the size of the network input for each image, and the engine that runs it.
#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "core/detector.h"
#include "platform/warning.h"

namespace yolort {
namespace {

/// Maximum size of a network input: 4 GiB of float32.
constexpr std::int64_t max_input_elements = std::int64_t{1} << 30;

std::string size_text(const Size& size) { return std::to_string(size[0]) + " x " + std::to_string(size[1]); }

}  // namespace

/// A size fixed by the engine overrides the metadata; requesting a different one is an error. An open side is rounded
/// up to a multiple of the stride, as in Ultralytics (check_imgsz in utils/checks.py).
void Detector::Impl::resolve_imgsz(const Options& options) {
  const InputShape fixed = engine->input_shape();
  const Size asked = {spec.height, spec.width};
  const auto resolve = [&](int& side, int fixed_side) {
    if (options.imgsz && fixed_side && side != fixed_side) {
      throw std::invalid_argument("imgsz is " + size_text(asked) + ", but model \"" + spec.path + "\" is fixed to " +
                                  size_text({fixed.height, fixed.width}));
    }
    if (fixed_side) side = fixed_side;
    if (!fixed_side && side <= max_imgsz) side = (side + spec.stride - 1) / spec.stride * spec.stride;
  };
  resolve(spec.height, fixed.height);
  resolve(spec.width, fixed.width);
  if (!spec.height || !spec.width) throw unknown_imgsz(spec);
  const std::int64_t elements = std::int64_t{spec.input.channels} * spec.height * spec.width;
  if (spec.height > max_imgsz || spec.width > max_imgsz || std::max(fixed.batch, 1) > max_input_elements / elements) {
    throw ModelError("model \"" + spec.path + "\" takes " + std::to_string(fixed.batch) + " images of " +
                     size_text({spec.height, spec.width}) + ", more than is supported");
  }
  const bool rounded = (!fixed.height && spec.height != asked[0]) || (!fixed.width && spec.width != asked[1]);
  if (rounded) {
    warn(spec.path + ": imgsz " + size_text(asked) + " is not a multiple of the model's stride, " +
         std::to_string(spec.stride) + "; it runs at " + size_text({spec.height, spec.width}));
  }
}

/// Ultralytics pads to rectangles if every size can run (pre_transform in engine/predictor.py).
void Detector::Impl::resolve_rect(const Options& options) {
  const InputShape fixed = engine->input_shape();
  const bool dynamic = !fixed.height && !fixed.width && !spec.input.stretch.value_or(false);
  if (options.rect == true && spec.input.stretch.value_or(false)) {
    throw std::invalid_argument("rect: images are stretched to the input of model \"" + spec.path +
                                "\", so there is no padding; leave rect out");
  }
  if (options.rect == true && !dynamic) {
    throw std::invalid_argument("rect: the input of model \"" + spec.path + "\" is fixed to " +
                                size_text({spec.height, spec.width}) +
                                "; leave rect out, or export the model with dynamic shapes");
  }
  rect = options.rect.value_or(dynamic);
}

std::unique_ptr<Detector::Impl> Detector::Impl::clone_at(const Size& size, const std::string& what) const {
  auto out = std::make_unique<Impl>(*this);
  out->views.clear();
  out->looks.clear();
  out->spec.height = size[0];
  out->spec.width = size[1];
  try {
    out->engine = engine->clone();
    const auto known = probed.find(size);
    if (known != probed.end()) {
      out->output_shapes = known->second;
    } else {
      out->probe();
    }
  } catch (const Error& error) {
    throw EngineError("model \"" + spec.path + "\" cannot run at " + size_text(size) + " " + what + ": " +
                      error.what());
  }
  return out;
}

/// The engine for an input of this size: the Detector's own, or an entry of `sizes`. A new entry may replace the least
/// recently used one.
Detector::Impl& Detector::Impl::at(const Size& size) {
  if (size == Size{spec.height, spec.width}) return *this;
  const auto found = std::find_if(sizes.begin(), sizes.end(), [&](const std::unique_ptr<Impl>& runner) {
    return size == Size{runner->spec.height, runner->spec.width};
  });
  if (found != sizes.end()) {
    sizes.splice(sizes.begin(), sizes, found);
    return *sizes.front();
  }
  if (sizes.size() == max_sizes) sizes.pop_back();
  sizes.push_front(clone_at(size, "for an image of that shape (rect=false pads to the square)"));
  probed[size] = sizes.front()->output_shapes;
  return *sizes.front();
}

Job Detector::Impl::place(const Image& image, double fraction, bool flip) const {
  const auto fit = spec.input.stretch.value_or(false) ? Geometry::stretch : Geometry::fit;
  const Geometry square = fit(image.width, image.height, spec.width, spec.height, fraction, flip);
  return {&image, rect ? square.trimmed(spec.stride) : square};
}

}  // namespace yolort
