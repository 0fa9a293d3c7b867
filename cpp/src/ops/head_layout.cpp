#include "ops/head_layout.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>

#include "ops/half.h"

namespace yolort {
namespace {

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

[[noreturn]] void no_fit(const HeadLayout& layout, const std::string& expected, const std::vector<Tensor>& outputs,
                         const std::string& next = "; export it again") {
  throw ModelError("the outputs " + shapes_text(outputs) + " do not fit the head '" + layout.name() + "'" +
                   (layout.task == Task::detect ? "" : " of the task '" + to_text(layout.task) + "'") + ": expected " +
                   expected + next);
}

/// Sets the number of mask coefficients from the prototypes (the last output), and checks the prototypes' size.
void resolve_prototypes(HeadLayout& layout, const std::vector<Tensor>& outputs, int height, int width) {
  const std::vector<int>& shape = outputs.back().shape;
  const bool any = shape.size() == 4 && shape[1] > 0 && shape[2] > 0 && shape[3] > 0;
  if (outputs.size() > 1 && any && shape[2] == height / 4 && shape[3] == width / 4) {
    layout.extra = shape[1];
    return;
  }
  no_fit(layout,
         "prototypes (batch, coefficients, " + std::to_string(height / 4) + ", " + std::to_string(width / 4) +
             ") as the last output",
         outputs);
}

/// Completes the layout of a raw head from the shapes of its maps, the first `count` outputs.
void read_maps(HeadLayout& layout, const std::vector<Tensor>& outputs, std::size_t count, int height) {
  const auto maps = static_cast<std::size_t>(layout.maps());
  const bool fits =
      count % maps == 0 && count <= maps * max_levels &&
      std::all_of(outputs.begin(), outputs.end(), [](const Tensor& map) { return map.shape.size() == 4; });
  if (!fits) throw ModelError("the outputs " + shapes_text(outputs) + " are not the raw maps of a head");
  layout.reg_max = outputs[0].shape[1] / 4;
  for (std::size_t i = 0; i < count; i += maps) {
    layout.strides.push_back(std::max(height / std::max(outputs[i].shape[2], 1), 1));
  }
}

void resolve_raw(HeadLayout& layout, const std::vector<Tensor>& outputs, std::size_t count, int height, int width) {
  const auto maps = static_cast<std::size_t>(layout.maps());
  const std::size_t levels = layout.strides.size();
  std::string expected;
  bool fits = count == maps * levels;
  if (fits && layout.classes == 0 && outputs[1].shape.size() == 4) layout.classes = outputs[1].shape[1];
  for (std::size_t level = 0; level < levels; ++level) {
    const int rows = height / layout.strides[level], columns = width / layout.strides[level];
    const int channels[] = {4 * layout.reg_max, layout.classes, layout.extra};
    for (std::size_t part = 0; part < maps; ++part) {
      const std::vector<int> shape = {outputs[0].shape[0], channels[part], rows, columns};
      expected += (expected.empty() ? "" : " ") + shape_text(shape);
      fits = fits && outputs[maps * level + part].shape == shape;
    }
  }
  if (!fits) no_fit(layout, expected, outputs);
}

/// Advice for outputs that match no head.
std::string next_step(const HeadLayout& layout, int classes, const std::vector<int>& shape) {
  if (shape.size() == 3 && layout.head == Head::boxes && shape[1] > 4 + layout.extra && shape[1] < shape[2] &&
      classes) {
    const int own = shape[1] - 4 - layout.extra;
    return "; the head has " + std::to_string(own) + " classes and the model names " + std::to_string(classes) +
           ": give names= with " + std::to_string(own) + " names";
  }
  return "; export it again with yolort export or Ultralytics, whose metadata says what the head is";
}

/// Number of YOLOv5's anchors: three per cell.
bool has_anchors_of_v5(int rows, int height, int width) {
  int cells = 0;
  for (const int stride : {8, 16, 32, 64}) {
    cells += (height / stride) * (width / stride);
    if (stride > 16 && rows == 3 * cells) return true;
  }
  return false;
}

/// Determines the head from the shape of the output (not the prototypes), if the metadata names none or one that does
/// not fit. Rows of 4 + 2 classes and of 5 + 1 class have the shape of end2end: rows of 5 + 1 are recognized by the
/// number of anchors, rows of 4 + 2 by a class that is not a whole number (see Decoder::add_row).
void guess_head(HeadLayout& layout, int classes, const std::vector<int>& shape, int height, int width) {
  const auto is = [&](Head head, bool nms) {
    layout.head = head;
    layout.nms = nms;
  };
  if (shape.size() == 2 && shape[1] == 7 && layout.task == Task::detect) return is(Head::indexed, false);
  if (shape.size() != 3 || shape[1] == 4 + classes + layout.extra) return is(Head::boxes, true);
  if (layout.transformer && classes && shape[2] == 4 + classes + layout.extra) return is(Head::rows, false);
  const bool of_v5 = has_anchors_of_v5(shape[1], height, width);
  const int scored = shape[2] - 5 - layout.extra;
  if (classes ? scored == classes && (classes > 1 || of_v5) : scored > 0 && of_v5) {
    layout.objectness = true;
    layout.classes = scored;
    return is(Head::rows, true);
  }
  if (shape[2] == 6 + layout.extra) return is(Head::end2end, false);  // YOLOv10, and exports with NMS in the graph
  is(Head::boxes, true);
}

/// A classifier's output: one value per class, possibly as a map with one cell.
HeadLayout check_scores(HeadLayout layout, int classes, const std::vector<Tensor>& outputs) {
  const std::vector<int>& shape = outputs[0].shape;
  bool fits = outputs.size() == 1 && shape.size() >= 2 && (classes == 0 || shape[1] == classes);
  for (std::size_t d = 2; d < shape.size(); ++d) fits = fits && shape[d] == 1;
  if (!fits) {
    no_fit(layout, "(batch, " + std::to_string(classes) + ")", outputs,
           "; give names= with a name for each class, or export it again");
  }
  layout.classes = shape[1];
  return layout;
}

void check_rows(const HeadLayout& layout, int classes, const std::vector<Tensor>& outputs, bool one) {
  const std::vector<int>& shape = outputs[0].shape;
  const std::string extra = layout.extra ? " + " + std::to_string(layout.extra) : "";
  if (layout.head == Head::boxes) {
    if (!one || layout.classes < 1 || shape[1] != 4 + layout.classes + layout.extra) {
      no_fit(layout,
             "(batch, " + std::to_string(4 + layout.classes + layout.extra) + ", anchors): 4 + " +
                 std::to_string(layout.classes) + " classes" + extra,
             outputs, next_step(layout, classes, shape));
    }
  } else if (layout.head == Head::rows) {
    const int values = 4 + layout.objectness + layout.classes + layout.extra;
    if (!one || layout.classes < 1 || shape[2] != values) {
      no_fit(layout, "(batch, rows, " + std::to_string(values) + ")", outputs, next_step(layout, classes, shape));
    }
  } else if (layout.head == Head::end2end && (!one || shape[2] != 6 + layout.extra)) {
    no_fit(layout, "(batch, rows, 6" + extra + ")", outputs, next_step(layout, classes, shape));
  }
}

}  // namespace

HeadLayout resolve_layout(HeadLayout layout, int classes, const std::vector<Tensor>& outputs, int height, int width) {
  if (outputs.empty()) throw ModelError("the model has no outputs; export it again");
  layout.classes = classes;
  if (layout.head == Head::probs) return check_scores(layout, classes, outputs);
  std::size_t count = outputs.size();
  if (layout.task == Task::segment) {
    resolve_prototypes(layout, outputs, height, width);
    --count;
  }
  if (layout.head == Head::raw) {
    if (layout.strides.empty()) read_maps(layout, outputs, count, height);
    resolve_raw(layout, outputs, count, height, width);
    return layout;
  }
  const std::vector<int>& shape = outputs[0].shape;
  if (count == 1 && layout.transformer) {
    layout.head = Head::end2end;
    layout.nms = false;
    layout.normalized = layout.centered = true;
    if (shape.size() == 3 && shape[2] != 6) guess_head(layout, classes, shape, height, width);
  } else if (count == 1 && layout.head != Head::end2end &&
             (layout.head != Head::unknown || shape.size() == 3 || shape.size() == 2)) {
    guess_head(layout, classes, shape, height, width);
  } else if (layout.head == Head::unknown) {
    throw ModelError("the outputs " + shapes_text(outputs) +
                     " do not match a known head (1 x (4 + classes) x anchors, 1 x rows x 6), and the model "
                     "has no metadata that names its head; export it with yolort export");
  }
  const bool one = count == 1 && shape.size() == 3;
  if (layout.head == Head::boxes && one && classes == 0) layout.classes = shape[1] - 4 - layout.extra;
  check_rows(layout, classes, outputs, one);
  return layout;
}

EngineError not_finite() {
  return EngineError(
      "the model's outputs hold NaN or infinity; run it with precision=\"fp32\" or another engine, and check how it "
      "was exported");
}

const Tensor& ExtraValues::locate(std::size_t& anchor, std::size_t& level) const {
  const std::vector<Tensor>& outputs = *outputs_;
  level = 0;
  if (layout_->head != Head::raw) return outputs[0];
  const auto cells = [&] {
    const std::vector<int>& shape = outputs[3 * level + 2].shape;
    return static_cast<std::size_t>(shape[2]) * static_cast<std::size_t>(shape[3]);
  };
  for (; anchor >= cells(); ++level) anchor -= cells();
  return outputs[3 * level + 2];
}

void ExtraValues::read(std::size_t anchor, float* values) const {
  std::size_t level = 0;
  const Tensor& tensor = locate(anchor, level);
  const std::ptrdiff_t stride = tensor.channel_stride;
  std::ptrdiff_t step = stride, at = index_ * tensor.batch_stride() + static_cast<std::ptrdiff_t>(anchor);
  if (layout_->head == Head::end2end) {
    step = 1;
    at = index_ * tensor.batch_stride() + static_cast<std::ptrdiff_t>(anchor) * stride + 6;
  } else if (layout_->head == Head::rows) {
    step = 1;
    at = index_ * tensor.batch_stride() + static_cast<std::ptrdiff_t>(anchor) * stride + 4 + layout_->objectness +
         layout_->classes;
  } else if (layout_->head == Head::boxes) {
    at += (4 + layout_->classes) * stride;
  }
  for (int k = 0; k < layout_->extra; ++k, at += step) {
    values[k] = tensor.type == Type::f32 ? static_cast<const float*>(tensor.data)[at]
                                         : half_to_float(static_cast<const std::uint16_t*>(tensor.data)[at]);
    if (!std::isfinite(values[k])) throw not_finite();
  }
}

Cell ExtraValues::cell(std::size_t anchor) const {
  if (layout_->head != Head::raw) return {};
  std::size_t level = 0;
  const auto columns = static_cast<std::size_t>(locate(anchor, level).shape[3]);
  return {static_cast<float>(anchor % columns) + 0.5f, static_cast<float>(anchor / columns) + 0.5f,
          static_cast<float>(layout_->strides[level])};
}

}  // namespace yolort
