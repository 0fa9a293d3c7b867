// Network outputs: arbitrary numbers in tensors of any shape, decoded as every kind of head.
#include <algorithm>
#include <cstdlib>
#include <vector>

#include "../cpp/fake_engine.h"
#include "fuzz.h"

using namespace yolort;

namespace {

/// An engine whose outputs come from the fuzzer.
class AnyEngine final : public BufferEngine {
 public:
  static inline std::vector<std::vector<int>> shapes;
  static inline std::vector<float> values;
  static inline bool half = false;

  InputShape input_shape() const override { return {1, 64, 64}; }
  const std::vector<Tensor>& run() override {
    outputs_.clear();
    rows_.clear();
    for (const std::vector<int>& shape : shapes) {
      std::size_t count = 1;
      for (const int side : shape) count *= static_cast<std::size_t>(side);
      rows_.emplace_back(count);
      for (std::size_t i = 0; i < count && !values.empty(); ++i) rows_.back()[i] = values[i % values.size()];
      const std::ptrdiff_t plane = shape.size() == 3 ? shape[2] : std::ptrdiff_t{shape[2]} * shape[3];
      outputs_.push_back({rows_.back().data(), shape, plane, half ? Type::f16 : Type::f32});
    }
    return outputs_;
  }
  std::unique_ptr<Engine> clone() const override { return std::make_unique<AnyEngine>(); }

 private:
  std::vector<std::vector<float>> rows_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const fuzz::Folder folder;
  static const bool registered = [] {
    EngineEntry entry;
    entry.name = "any";
    entry.priority = 1000;
    entry.unavailable = [] { return std::string(); };
    entry.accepts = [](const ModelSpec&) { return true; };
    entry.load = [](const ModelSpec&, const Options&) { return std::make_unique<AnyEngine>(); };
    register_engine(entry);
    return true;
  }();
  static_cast<void>(registered);

  fuzz::Bytes bytes(data, size);
  const std::string metadata(bytes.text());
  std::string file(4, '\0');
  for (std::size_t i = 0; i < 4; ++i) file[i] = static_cast<char>(metadata.size() >> (8 * i) & 0xFF);
  const std::string model = folder.write("model.engine", file + metadata).string();

  AnyEngine::half = bytes.flag();
  AnyEngine::shapes.clear();
  for (int left = bytes.within(0, 7); left > 0; --left) {
    std::vector<int> shape(bytes.flag() ? 3 : 4);
    for (int& side : shape) side = bytes.within(0, 24);
    AnyEngine::shapes.push_back(shape);
  }
  Options options;
  options.conf = static_cast<float>(bytes.within(1, 100)) / 100;
  options.iou = static_cast<float>(bytes.within(1, 100)) / 100;
  options.max_det = bytes.within(1, 400);
  options.agnostic = bytes.flag();
  options.multi_label = bytes.flag();
  options.augment = bytes.flag();
  options.merge = bytes.flag() ? Merge::wbf : Merge::nms;
  AnyEngine::values.clear();
  while (!bytes.rest().empty()) AnyEngine::values.push_back(bytes.take<float>());

  static const std::uint8_t pixels[50 * 40 * 3] = {};
  try {
    const Detections found = Detector(model, options).detect({pixels, 50, 40});
    if (found.scores.size() != found.size() || found.classes.size() != found.size()) std::abort();
    if (found.size() > static_cast<std::size_t>(options.max_det)) std::abort();
    for (const Box& box : found.boxes) {
      if (!(box.x1 >= 0 && box.y1 >= 0 && box.x2 <= 50 && box.y2 <= 40)) std::abort();  // NaN neither
    }
    for (const Mask& mask : found.masks) {
      if (mask.x < 0 || mask.y < 0 || mask.x + mask.width > 50 || mask.y + mask.height > 40) std::abort();
      if (mask.area() == 0) std::abort();
    }
    for (const RotatedBox& box : found.rotated) {
      if (!(box.width - box.width == 0) || !(box.cx - box.cx == 0)) std::abort();  // NaN or infinity
    }
    const std::size_t points = found.size() * static_cast<std::size_t>(found.kpt_shape[0] * found.kpt_shape[1]);
    if (found.keypoints.size() != points) std::abort();
  } catch (const Error&) {
  } catch (const std::invalid_argument&) {
  }
  return 0;
}
