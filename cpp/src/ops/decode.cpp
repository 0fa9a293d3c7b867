#include "ops/decode.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "ops/half.h"
#include "ops/head_layout.h"
#include "ops/keypoints.h"
#include "ops/rotated.h"

namespace yolort {
namespace {

/// Maximum number of boxes before NMS, as in Ultralytics (utils/nms.py, max_nms).
constexpr std::size_t max_nms = 30000;

bool is_finite(const Box& box) {
  return std::isfinite(box.x1) && std::isfinite(box.y1) && std::isfinite(box.x2) && std::isfinite(box.y2);
}

/// A box given by center and size, stored in the fields of the corners.
Box centered(const Box& box) {
  const float w = box.x2 / 2, h = box.y2 / 2;
  return {box.x1 - w, box.y1 - h, box.x1 + w, box.y1 + h};
}

/// Converts a box given as fractions of the input to pixels, if the layout says so.
Box in_pixels(const HeadLayout& layout, const Geometry& geometry, Box box) {
  if (!layout.normalized) return box;
  const auto width = static_cast<float>(geometry.width), height = static_cast<float>(geometry.height);
  return {box.x1 * width, box.y1 * height, box.x2 * width, box.y2 * height};
}

float value_at(const Tensor& tensor, std::ptrdiff_t at) {
  return tensor.type == Type::f32 ? static_cast<const float*>(tensor.data)[at]
                                  : half_to_float(static_cast<const std::uint16_t*>(tensor.data)[at]);
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

float conf_of(const Thresholds& thresholds, int cls) {
  return thresholds.class_conf.empty() ? thresholds.conf : thresholds.class_conf[static_cast<std::size_t>(cls)];
}

float lowest_conf(const Thresholds& thresholds) {
  const std::vector<float>& each = thresholds.class_conf;
  return each.empty() ? thresholds.conf : *std::min_element(each.begin(), each.end());
}

std::vector<float> score_floors(const Thresholds& thresholds, int classes) {
  if (thresholds.classes.empty()) return thresholds.class_conf;
  std::vector<float> out(static_cast<std::size_t>(classes), INFINITY);
  for (const int cls : thresholds.classes) {
    out[static_cast<std::size_t>(cls)] = conf_of(thresholds, cls);
  }
  return out;
}

void check_thresholds(const Thresholds& thresholds, int classes) {
  const auto unit = [](const char* name, float value) {
    if (!(value >= 0 && value <= 1)) {
      throw std::invalid_argument(std::string(name) + " is " + std::to_string(value) + ", expected 0 to 1");
    }
  };
  unit("conf", thresholds.conf);
  for (const float conf : thresholds.class_conf) unit("conf of a class", conf);
  if (!thresholds.class_conf.empty() && thresholds.class_conf.size() != static_cast<std::size_t>(classes)) {
    throw std::invalid_argument("class_conf has " + std::to_string(thresholds.class_conf.size()) +
                                " values, but the model has " + std::to_string(classes) + " classes");
  }
  unit("iou", thresholds.iou);
  if (thresholds.max_det < 1) {
    throw std::invalid_argument("max_det is " + std::to_string(thresholds.max_det) + ", expected 1 or more");
  }
  for (int cls : thresholds.classes) {
    if (cls < 0 || cls >= classes) {
      throw std::invalid_argument("classes: " + std::to_string(cls) + " is not a class of this model, expected 0 to " +
                                  std::to_string(classes - 1));
    }
  }
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

/// Adds the candidates of cells whose best class is above `threshold` (in the unit of `scores`). `score` converts a
/// value to a score, `decode_box` computes the box of a cell, and `first` is the index of the first cell's anchor.
template <class Score, class DecodeBox>
void Decoder::collect(const FloatMap& scores, std::size_t first, float threshold, bool multi_label,
                      const Thresholds& thresholds, Score score, DecodeBox decode_box) {
  const std::size_t cells = scores.cells;
  best_.resize(cells);
  if (!kernels_->column_max(scores.data, scores.stride, scores.channels, cells, best_.data())) throw not_finite();
  for (std::size_t i = 0; i < cells; ++i) {
    if (!(best_[i] > threshold)) continue;
    Candidate candidate{};
    candidate.anchor = static_cast<std::uint32_t>(first + i);
    bool have_box = false;
    for (std::size_t c = 0; c < scores.channels; ++c) {
      const float value = scores.data[static_cast<std::ptrdiff_t>(c) * scores.stride + static_cast<std::ptrdiff_t>(i)];
      if (multi_label ? !(value > threshold) : value != best_[i]) continue;
      candidate.score = score(value);
      candidate.cls = static_cast<int>(c);
      if (candidate.score > (floors_.empty() ? thresholds.conf : floors_[c])) {
        if (!have_box) candidate.box = decode_box(i);
        have_box = true;
        candidates_.push_back(candidate);
      }
      if (!multi_label) break;
    }
    if (have_box && !is_finite(candidate.box)) throw not_finite();
  }
}

void Decoder::decode_raw(const HeadLayout& layout, const std::vector<Tensor>& outputs, int index,
                         const Thresholds& thresholds) {
  const bool multi_label = is_multi_label(layout, thresholds);
  const auto maps = static_cast<std::size_t>(layout.maps());
  std::size_t first = 0;
  for (std::size_t level = 0; level < layout.strides.size(); ++level) {
    const FloatMap boxes = float_map(outputs[maps * level], index, 2 * level);
    const FloatMap scores = float_map(outputs[maps * level + 1], index, 2 * level + 1);
    const auto columns = static_cast<std::size_t>(outputs[maps * level].shape[3]);
    const auto stride = static_cast<float>(layout.strides[level]);
    const std::ptrdiff_t side_stride = layout.reg_max * boxes.stride;
    collect(scores, first, logit(lowest_), multi_label, thresholds, sigmoid, [&](std::size_t i) {
      const float* at = boxes.data + i;
      const float x = static_cast<float>(i % columns) + 0.5f, y = static_cast<float>(i / columns) + 0.5f;
      return Box{(x - box_side(at, boxes.stride, layout.reg_max)) * stride,
                 (y - box_side(at + side_stride, boxes.stride, layout.reg_max)) * stride,
                 (x + box_side(at + 2 * side_stride, boxes.stride, layout.reg_max)) * stride,
                 (y + box_side(at + 3 * side_stride, boxes.stride, layout.reg_max)) * stride};
    });
    first += scores.cells;
  }
}

void Decoder::decode_boxes(const HeadLayout& layout, const Tensor& output, int index, const Geometry& geometry,
                           const Thresholds& thresholds) {
  const FloatMap all = float_map(output, index, 0);
  const FloatMap scores{all.data + 4 * all.stride, all.stride, static_cast<std::size_t>(layout.classes), all.cells};
  collect(
      scores, 0, lowest_, is_multi_label(layout, thresholds), thresholds, [](float value) { return value; },
      [&](std::size_t i) {
        const float* at = all.data + i;
        return centered(in_pixels(layout, geometry, {at[0], at[all.stride], at[2 * all.stride], at[3 * all.stride]}));
      });
}

/// The score of a class, multiplied by the objectness if the row has one.
void Decoder::decode_rows(const HeadLayout& layout, const Tensor& output, int index, const Geometry& geometry,
                          const Thresholds& thresholds) {
  const FloatMap rows = float_map(output, index, 0);
  const bool multi_label = is_multi_label(layout, thresholds);
  for (std::size_t i = 0; i < rows.channels; ++i) {
    const float* row = rows.data + static_cast<std::ptrdiff_t>(i) * rows.stride;
    const float object = layout.objectness ? row[4] : 1;
    if (!std::isfinite(object)) throw not_finite();
    if (object <= lowest_) continue;
    const float* scores = row + 4 + layout.objectness;
    float best = -INFINITY;
    for (int c = 0; c < layout.classes; ++c) {
      if (!std::isfinite(scores[c])) throw not_finite();
      best = std::max(best, scores[c] * object);
    }
    if (!(best > lowest_)) continue;
    const Box box = centered(in_pixels(layout, geometry, {row[0], row[1], row[2], row[3]}));
    for (int c = 0; c < layout.classes; ++c) {
      const float score = scores[c] * object;
      if (multi_label ? !(score > lowest_) : score != best) continue;
      add_row(layout, box, score, static_cast<float>(c), i, thresholds);
      if (!multi_label) break;
    }
  }
}

void Decoder::decode_end2end(const HeadLayout& layout, const Tensor& output, int index, const Geometry& geometry,
                             const Thresholds& thresholds) {
  const FloatMap rows = float_map(output, index, 0);
  for (std::size_t i = 0; i < rows.channels; ++i) {
    const float* row = rows.data + static_cast<std::ptrdiff_t>(i) * rows.stride;
    Box box{row[0], row[1], row[2], row[3]};
    if (layout.centered || layout.task == Task::obb) box = centered(in_pixels(layout, geometry, box));
    add_row(layout, box, row[4], row[5], i, thresholds);
  }
}

/// The rows of all images of the batch.
void Decoder::decode_indexed(const HeadLayout& layout, const Tensor& output, int index, const Thresholds& thresholds) {
  for (int i = 0; i < output.shape[0]; ++i) {
    float row[7];
    for (int k = 0; k < 7; ++k) row[k] = value_at(output, 7 * static_cast<std::ptrdiff_t>(i) + k);
    if (row[0] != static_cast<float>(index)) continue;
    add_row(layout, {row[1], row[2], row[3], row[4]}, row[6], row[5], static_cast<std::size_t>(i), thresholds);
  }
}

/// Adds a candidate if its class is selected and its score is above the threshold of the class.
void Decoder::add_row(const HeadLayout& layout, const Box& box, float score, float cls, std::size_t row,
                      const Thresholds& thresholds) {
  if (!std::isfinite(score)) throw not_finite();
  if (!(score > lowest_)) return;
  if (!is_finite(box) || !std::isfinite(cls)) throw not_finite();
  if (cls < 0 || cls >= static_cast<float>(layout.classes)) {
    throw ModelError("a row has class " + std::to_string(cls) + ", but the model has names for only " +
                     std::to_string(layout.classes) + " classes; pass names= with all class names");
  }
  if (layout.transformer && cls != std::floor(cls)) {
    throw ModelError(
        "a row has class " + std::to_string(cls) +
        ", which is not a whole number; RT-DETR with two classes and one score per class in its rows is not "
        "supported");
  }
  const int index = static_cast<int>(cls);
  if (score > (floors_.empty() ? thresholds.conf : floors_[static_cast<std::size_t>(index)])) {
    candidates_.push_back({box, score, index, static_cast<std::uint32_t>(row)});
  }
}

Detections Decoder::operator()(const HeadLayout& layout, const std::vector<Tensor>& outputs, int index,
                               const Geometry& geometry, const Thresholds& thresholds) {
  floors_ = score_floors(thresholds, layout.classes);
  lowest_ = lowest_conf(thresholds);
  candidates_.clear();
  switch (layout.head) {
    case Head::raw: decode_raw(layout, outputs, index, thresholds); break;
    case Head::boxes: decode_boxes(layout, outputs[0], index, geometry, thresholds); break;
    case Head::rows: decode_rows(layout, outputs[0], index, geometry, thresholds); break;
    case Head::indexed: decode_indexed(layout, outputs[0], index, thresholds); break;
    default: decode_end2end(layout, outputs[0], index, geometry, thresholds); break;
  }
  if (layout.task == Task::obb) {
    const ExtraValues extra(layout, outputs, index);
    for (Candidate& candidate : candidates_) {
      float value = 0;
      extra.read(candidate.anchor, &value);
      turn(candidate, layout, extra.cell(candidate.anchor), value);
    }
  }
  sort_by_score(candidates_);
  if (layout.nms) {
    candidates_.resize(std::min(candidates_.size(), max_nms));
    const auto suppress = layout.task == Task::obb ? rotated_suppression : non_maximum_suppression;
    suppress(candidates_, thresholds.iou, thresholds.agnostic, thresholds.max_det);
  }
  candidates_.resize(std::min(candidates_.size(), static_cast<std::size_t>(thresholds.max_det)));
  const auto extra = static_cast<std::size_t>(layout.task == Task::obb ? 0 : layout.extra);
  std::vector<float> values(candidates_.size() * extra);
  const ExtraValues reader(layout, outputs, index);
  for (std::size_t i = 0; i < candidates_.size() && extra; ++i) reader.read(candidates_[i].anchor, &values[i * extra]);
  if (layout.task != Task::segment) return to_detections(layout, outputs, geometry, candidates_, std::move(values));
  Detections out = to_detections(layout, outputs, geometry, candidates_, {});
  masks_(outputs.back(), index, geometry, values, out);
  return out;
}

Detections to_detections(const HeadLayout& layout, const std::vector<Tensor>& outputs, const Geometry& geometry,
                         const std::vector<Candidate>& candidates, std::vector<float> values) {
  Detections out;
  out.boxes.reserve(candidates.size());
  out.scores.reserve(candidates.size());
  out.classes.reserve(candidates.size());
  out.kpt_shape = layout.kpt_shape;
  const ExtraValues extra(layout, outputs, 0);
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const Candidate& candidate = candidates[i];
    out.scores.push_back(candidate.score);
    out.classes.push_back(candidate.cls);
    if (layout.task == Task::obb) {
      out.rotated.push_back(geometry.to_image(rotated_box(candidate)));
      const Box around = hull(out.rotated.back());
      if (!is_finite(around)) throw not_finite();  // sizes that overflow
      out.boxes.push_back(geometry.clip(around));
      continue;
    }
    out.boxes.push_back(geometry.to_image(candidate.box));
    if (layout.task != Task::pose) continue;
    float* own = &values[i * static_cast<std::size_t>(layout.extra)];
    if (layout.head == Head::raw) decode_keypoints(layout, extra.cell(candidate.anchor), own);
    keypoints_to_image(layout, geometry, own);
  }
  if (layout.task == Task::pose) out.keypoints = std::move(values);
  return out;
}

}  // namespace yolort
