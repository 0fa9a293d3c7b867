#include "ops/decode.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "ops/half.h"

namespace yolort {
namespace {

/// Maximum number of boxes before NMS, as in Ultralytics (utils/nms.py, max_nms).
constexpr std::size_t max_nms = 30000;

std::string shape_text(const std::vector<int>& shape) {
  std::string out = "(";
  for (int side : shape) out += (out.size() > 1 ? ", " : "") + std::to_string(side);
  return out + ")";
}

std::string shapes_text(const std::vector<Tensor>& outputs) {
  std::string out;
  for (const Tensor& tensor : outputs) out += (out.empty() ? "" : " ") + shape_text(tensor.shape);
  return out;
}

[[noreturn]] void no_fit(const std::string& head, const std::string& expected, const std::vector<Tensor>& outputs) {
  throw ModelError("the outputs " + shapes_text(outputs) + " do not fit the head '" + head + "': expected " + expected);
}

[[noreturn]] void not_finite() {
  throw EngineError(
      "the model's outputs hold NaN or infinity; run it with precision=\"fp32\" or another engine, and check how it "
      "was exported");
}

bool is_finite(const Box& box) {
  return std::isfinite(box.x1) && std::isfinite(box.y1) && std::isfinite(box.x2) && std::isfinite(box.y2);
}

float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }

}  // namespace

float box_side(const float* bins, std::ptrdiff_t stride, int reg_max) {
  if (reg_max == 1) return *bins;
  float top = bins[0];
  for (int k = 1; k < reg_max; ++k) top = std::max(top, bins[k * stride]);
  float sum = 0, weighted = 0;
  for (int k = 0; k < reg_max; ++k) {
    const float e = std::exp(bins[k * stride] - top);
    sum += e;
    weighted += e * static_cast<float>(k);
  }
  return weighted / sum;
}

float logit(float score) {
  if (score <= 0) return -INFINITY;
  if (score >= 1) return INFINITY;
  return std::log(score / (1 - score)) - 1e-4f;
}

bool is_multi_label(const HeadLayout& layout, const Thresholds& thresholds) {
  return thresholds.multi_label || (layout.head == Head::raw && !layout.nms);
}

void check_thresholds(const Thresholds& thresholds, int classes) {
  const auto unit = [](const char* name, float value) {
    if (!(value >= 0 && value <= 1)) {
      throw std::invalid_argument(std::string(name) + " is " + std::to_string(value) + ", expected 0 to 1");
    }
  };
  unit("conf", thresholds.conf);
  unit("iou", thresholds.iou);
  if (thresholds.max_det < 1) {
    throw std::invalid_argument("max_det is " + std::to_string(thresholds.max_det) + ", expected 1 or more");
  }
  for (int cls : thresholds.classes) {
    if (cls < 0 || cls >= classes) {
      throw std::invalid_argument("classes: " + std::to_string(cls) + " is no class of this model, which has 0 to " +
                                  std::to_string(classes - 1));
    }
  }
}

/// Completes a raw layout from the shapes of its maps.
void read_maps(HeadLayout& layout, const std::vector<Tensor>& outputs, int height) {
  const bool maps =
      outputs.size() % 2 == 0 && outputs.size() <= max_maps &&
      std::all_of(outputs.begin(), outputs.end(), [](const Tensor& map) { return map.shape.size() == 4; });
  if (!maps) throw ModelError("the outputs " + shapes_text(outputs) + " are not the maps of a head");
  layout.reg_max = outputs[0].shape[1] / 4;
  for (std::size_t i = 0; i < outputs.size(); i += 2) {
    layout.strides.push_back(std::max(height / std::max(outputs[i].shape[2], 1), 1));
  }
}

HeadLayout resolve_layout(HeadLayout layout, int classes, const std::vector<Tensor>& outputs, int height, int width) {
  if (outputs.empty()) throw ModelError("the model has no outputs; export it again");
  const auto is_rows = [&] { return outputs.size() == 1 && outputs[0].shape.size() == 3; };
  if (layout.head == Head::unknown) {
    // 1 x 300 x 6 reads as end2end unless the classes or the number of rows say otherwise, as in Ultralytics.
    if (is_rows() && outputs[0].shape[2] == 6 && outputs[0].shape[1] != 4 + classes) {
      layout.head = Head::end2end;
      layout.nms = false;
    } else if (is_rows()) {
      layout.head = Head::boxes;
    } else {
      throw ModelError("the outputs " + shapes_text(outputs) +
                       " are those of no head known here (1 x (4 + classes) x anchors, 1 x rows x 6), and the model "
                       "carries no metadata that says more; export it with yolort export");
    }
  }
  layout.classes = classes;
  if (layout.head == Head::raw && layout.strides.empty()) read_maps(layout, outputs, height);

  if (layout.head == Head::raw) {
    const std::size_t levels = layout.strides.size();
    std::string expected;
    bool fits = outputs.size() == 2 * levels;
    if (fits && classes == 0 && outputs[1].shape.size() == 4) layout.classes = outputs[1].shape[1];
    for (std::size_t level = 0; level < levels; ++level) {
      const int rows = height / layout.strides[level], columns = width / layout.strides[level];
      for (int part = 0; part < 2; ++part) {
        const std::vector<int> shape = {outputs[0].shape[0], part ? layout.classes : 4 * layout.reg_max, rows, columns};
        expected += (expected.empty() ? "" : " ") + shape_text(shape);
        fits = fits && outputs[2 * level + part].shape == shape;
      }
    }
    if (!fits) no_fit(layout.name(), expected, outputs);
  } else if (layout.head == Head::boxes) {
    if (is_rows() && classes == 0) layout.classes = outputs[0].shape[1] - 4;
    if (!is_rows() || layout.classes < 1 || outputs[0].shape[1] != 4 + layout.classes) {
      no_fit("boxes",
             "(batch, " + std::to_string(4 + layout.classes) + ", anchors): 4 + " + std::to_string(layout.classes) +
                 " classes",
             outputs);
    }
  } else if (!is_rows() || outputs[0].shape[2] != 6) {
    no_fit("end2end", "(batch, rows, 6)", outputs);
  }
  return layout;
}

/// Channels x cells, cells contiguous.
struct Decoder::FloatMap {
  const float* data;
  std::ptrdiff_t stride;  ///< from one channel to the next
  std::size_t channels, cells;
};

Decoder::FloatMap Decoder::float_map(const Tensor& tensor, int index, std::size_t slot) {
  const auto channels = static_cast<std::size_t>(tensor.shape[1]);
  std::size_t cells = 1;
  for (std::size_t d = 2; d < tensor.shape.size(); ++d) cells *= static_cast<std::size_t>(tensor.shape[d]);
  const std::ptrdiff_t origin = index * tensor.batch_stride();
  if (tensor.type == Type::f32) {
    return {static_cast<const float*>(tensor.data) + origin, tensor.channel_stride, channels, cells};
  }
  const auto* half = static_cast<const std::uint16_t*>(tensor.data) + origin;
  std::vector<float>& copy = widened_[slot];
  copy.resize(channels * cells);
  for (std::size_t c = 0; c < channels; ++c) {
    std::transform(half + c * tensor.channel_stride, half + c * tensor.channel_stride + cells,
                   copy.begin() + static_cast<std::ptrdiff_t>(c * cells), half_to_float);
  }
  return {copy.data(), static_cast<std::ptrdiff_t>(cells), channels, cells};
}

/// Adds the candidates of cells whose best class is above `threshold` (in the unit of `scores`). `score` turns a value
/// into a score, `decode_box` computes the box of a cell.
template <class Score, class DecodeBox>
void Decoder::collect(const FloatMap& scores, std::size_t cells, float threshold, bool multi_label,
                      const Thresholds& thresholds, Score score, DecodeBox decode_box) {
  best_.resize(cells);
  if (!kernels_->column_max(scores.data, scores.stride, scores.channels, cells, best_.data())) not_finite();
  for (std::size_t i = 0; i < cells; ++i) {
    if (!(best_[i] > threshold)) continue;
    Candidate candidate{};
    bool have_box = false;
    for (std::size_t c = 0; c < scores.channels; ++c) {
      const float value = scores.data[static_cast<std::ptrdiff_t>(c) * scores.stride + static_cast<std::ptrdiff_t>(i)];
      if (multi_label ? !(value > threshold) : value != best_[i]) continue;
      candidate.score = score(value);
      candidate.cls = static_cast<int>(c);
      if (candidate.score > thresholds.conf && (class_mask_.empty() || class_mask_[c])) {
        if (!have_box) candidate.box = decode_box(i);
        have_box = true;
        candidates_.push_back(candidate);
      }
      if (!multi_label) break;
    }
    if (have_box && !is_finite(candidate.box)) not_finite();
  }
}

void Decoder::decode_raw(const HeadLayout& layout, const std::vector<Tensor>& outputs, int index,
                         const Thresholds& thresholds) {
  const bool multi_label = is_multi_label(layout, thresholds);
  for (std::size_t level = 0; level < layout.strides.size(); ++level) {
    const FloatMap boxes = float_map(outputs[2 * level], index, 2 * level);
    const FloatMap scores = float_map(outputs[2 * level + 1], index, 2 * level + 1);
    const auto columns = static_cast<std::size_t>(outputs[2 * level].shape[3]);
    const auto stride = static_cast<float>(layout.strides[level]);
    const std::ptrdiff_t side_stride = layout.reg_max * boxes.stride;
    collect(scores, scores.cells, logit(thresholds.conf), multi_label, thresholds, sigmoid, [&](std::size_t i) {
      const float* at = boxes.data + i;
      const float x = static_cast<float>(i % columns) + 0.5f, y = static_cast<float>(i / columns) + 0.5f;
      return Box{(x - box_side(at, boxes.stride, layout.reg_max)) * stride,
                 (y - box_side(at + side_stride, boxes.stride, layout.reg_max)) * stride,
                 (x + box_side(at + 2 * side_stride, boxes.stride, layout.reg_max)) * stride,
                 (y + box_side(at + 3 * side_stride, boxes.stride, layout.reg_max)) * stride};
    });
  }
}

void Decoder::decode_boxes(const HeadLayout& layout, const Tensor& output, int index, const Geometry& geometry,
                           const Thresholds& thresholds) {
  const FloatMap all = float_map(output, index, 0);
  const FloatMap scores{all.data + 4 * all.stride, all.stride, static_cast<std::size_t>(layout.classes), all.cells};
  const float across = layout.normalized ? static_cast<float>(geometry.width) : 1;
  const float down = layout.normalized ? static_cast<float>(geometry.height) : 1;
  collect(
      scores, scores.cells, thresholds.conf, is_multi_label(layout, thresholds), thresholds,
      [](float value) { return value; },
      [&](std::size_t i) {
        const float* at = all.data + i;
        const float x = at[0] * across, w = at[2 * all.stride] * across / 2;
        const float y = at[all.stride] * down, h = at[3 * all.stride] * down / 2;
        return Box{x - w, y - h, x + w, y + h};
      });
}

void Decoder::decode_end2end(const HeadLayout& layout, const Tensor& output, int index, const Thresholds& thresholds) {
  const FloatMap rows = float_map(output, index, 0);
  for (std::size_t i = 0; i < rows.channels; ++i) {
    const float* row = rows.data + static_cast<std::ptrdiff_t>(i) * rows.stride;
    if (!std::isfinite(row[4])) not_finite();
    if (!(row[4] > thresholds.conf)) continue;
    const Box box{row[0], row[1], row[2], row[3]};
    if (!is_finite(box) || !std::isfinite(row[5])) not_finite();
    if (row[5] < 0 || row[5] >= static_cast<float>(layout.classes)) {
      throw ModelError("an end2end row has class " + std::to_string(row[5]) + ", but the model names " +
                       std::to_string(layout.classes) + " classes");
    }
    const int cls = static_cast<int>(row[5]);
    if (class_mask_.empty() || class_mask_[static_cast<std::size_t>(cls)]) candidates_.push_back({box, row[4], cls});
  }
}

Detections Decoder::operator()(const HeadLayout& layout, const std::vector<Tensor>& outputs, int index,
                               const Geometry& geometry, const Thresholds& thresholds) {
  class_mask_.assign(thresholds.classes.empty() ? 0 : static_cast<std::size_t>(layout.classes), false);
  for (int cls : thresholds.classes) class_mask_[static_cast<std::size_t>(cls)] = true;
  candidates_.clear();
  switch (layout.head) {
    case Head::raw: decode_raw(layout, outputs, index, thresholds); break;
    case Head::boxes: decode_boxes(layout, outputs[0], index, geometry, thresholds); break;
    default: decode_end2end(layout, outputs[0], index, thresholds); break;
  }
  sort_by_score(candidates_);
  if (layout.nms) {
    candidates_.resize(std::min(candidates_.size(), max_nms));
    non_maximum_suppression(candidates_, thresholds.iou, thresholds.agnostic, thresholds.max_det);
  }
  candidates_.resize(std::min(candidates_.size(), static_cast<std::size_t>(thresholds.max_det)));

  Detections out;
  out.boxes.reserve(candidates_.size());
  out.scores.reserve(candidates_.size());
  out.classes.reserve(candidates_.size());
  for (const Candidate& candidate : candidates_) {
    out.boxes.push_back(geometry.to_image(candidate.box));
    out.scores.push_back(candidate.score);
    out.classes.push_back(candidate.cls);
  }
  return out;
}

}  // namespace yolort
