// Maps coordinates between image and network input.
#pragma once

#include "yolort/yolort.h"

namespace yolort {

/// The position of an image in the network input. The rounding is that of Ultralytics' LetterBox (data/augment.py) and
/// scale_boxes (utils/ops.py), half to even.
struct Geometry {
  int source_width = 0, source_height = 0;
  int width = 0, height = 0;          ///< network input
  int new_width = 0, new_height = 0;  ///< the resized image within it
  int left = 0, top = 0;
  bool mirrored = false;  ///< the image is mirrored left to right; its padding is not

  /// Fits the image into the input, times `scale` (above 0, at most 1), centered.
  static Geometry fit(int source_width, int source_height, int width, int height, double scale = 1,
                      bool mirrored = false);
  /// Stretches the image to the input's size times `scale`, ignoring its proportions: Ultralytics' LetterBox with
  /// scale_fill.
  static Geometry stretch(int source_width, int source_height, int width, int height, double scale = 1,
                          bool mirrored = false);
  /// The same image with as little padding as multiples of `stride` allow: Ultralytics' LetterBox with auto=True. Both
  /// sides of the input must be multiples of it.
  Geometry trimmed(int stride) const;
  /// Maps a box from network input to original image, clipped.
  Box to_image(const Box& box) const;
  /// The same for a rotated box, which is not clipped.
  RotatedBox to_image(const RotatedBox& box) const;
  /// A box of the original image, cut at its edges.
  Box clip(const Box& box) const;
  bool operator==(const Geometry& other) const;

 private:
  static Geometry placed(int source_width, int source_height, int width, int height, double across, double down,
                         bool mirrored);
  void center();
};

}  // namespace yolort
