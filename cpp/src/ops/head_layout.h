// How the outputs of a model are laid out.
#pragma once

#include <vector>

#include "core/engine.h"
#include "model/model.h"

namespace yolort {

/// Completes a layout from the outputs' shapes and checks that they fit it. `classes` 0: the number is taken from the
/// shapes. Throws ModelError with the expected and the actual shapes.
HeadLayout resolve_layout(HeadLayout layout, int classes, const std::vector<Tensor>& outputs, int height, int width);

/// The error for outputs that hold NaN or infinity.
EngineError not_finite();

/// A cell of a raw head: its center, in cells, and its size in pixels of the network input.
struct Cell {
  float x = 0, y = 0, stride = 0;
};

/// The extra values of an anchor, see HeadLayout::extra. `anchor` counts across all levels of a raw head; for end2end
/// it is the row.
class ExtraValues {
 public:
  /// `index`: the image in the batch. All arguments are borrowed.
  ExtraValues(const HeadLayout& layout, const std::vector<Tensor>& outputs, int index)
      : layout_(&layout), outputs_(&outputs), index_(index) {}

  /// Writes HeadLayout::extra values. Throws EngineError if they hold NaN or infinity.
  void read(std::size_t anchor, float* values) const;
  /// The cell of an anchor of a raw head. Reads only the shapes.
  Cell cell(std::size_t anchor) const;

 private:
  /// The output that holds an anchor, and its index there.
  const Tensor& locate(std::size_t& anchor, std::size_t& level) const;

  const HeadLayout* layout_;
  const std::vector<Tensor>* outputs_;
  int index_;
};

}  // namespace yolort
