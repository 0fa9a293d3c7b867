// Model metadata.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <istream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "yolort/yolort.h"

namespace yolort {

enum class Format { onnx, ncnn, openvino, tensorrt, tflite };
std::string to_text(Format format);
std::string to_text(Task task);

enum class Head {
  unknown,
  raw,      ///< box and class maps of each level, as the last convolutions leave them
  boxes,    ///< batch x (4 + classes) x anchors: cx cy w h in input pixels, scores
  end2end,  ///< batch x rows x 6: x1 y1 x2 y2 score class
  rows,     ///< batch x anchors x (4 + classes): the values of `boxes`, one row per anchor
  indexed,  ///< rows x 7: index in the batch, x1 y1 x2 y2 class score
  probs,    ///< batch x classes, of Task::classify
};

/// How pixels are converted to the network input.
struct InputFormat {
  int channels = 0;  ///< 0: unknown
  bool bgr = false;  ///< blue first, if there are three channels
  /// Both sides of an image become those of the input: no padding. Unset: whether the model is RT-DETR.
  std::optional<bool> stretch;
  /// (grey level / 255 - mean) / stddev; one value for all channels, or one per channel in network order. Empty: 0 and
  /// 1.
  std::vector<float> mean, stddev;
};

/// How to read the outputs. Beside box and classes an anchor may have `extra` values: mask coefficients, keypoints or
/// the angle. In a raw head they are a third map of each level; in the others they come last.
struct HeadLayout {
  Head head = Head::unknown;
  Task task = Task::detect;
  int extra = 0;                   ///< segment: number of prototypes (the last output); obb: 1
  std::array<int, 2> kpt_shape{};  ///< pose: keypoints, and values of each
  std::vector<int> flip_idx;       ///< pose: index of each keypoint's counterpart in a mirrored image; empty: unknown
  bool direct = false;             ///< raw: keypoints and angles as in Pose26 and OBB26 of YOLO26
  bool nms = true;                 ///< raw one-to-one branches (`raw-e2e`) and end2end need none
  bool normalized = false;         ///< boxes, rows, centered end2end: cx cy w h are fractions of the input size
  bool centered = false;           ///< end2end: cx cy w h instead of the corners; always so for obb
  bool objectness = false;         ///< rows: an objectness score follows the box and multiplies the others
  bool transformer = false;        ///< RT-DETR: the boxes are normalized and need no NMS
  int classes = 0;
  int reg_max = 0;           ///< raw: bins per box side; 1: the value is the distance itself
  std::vector<int> strides;  ///< raw: input pixels per cell, level by level; empty: from the shapes of the maps

  std::string name() const;
  /// Outputs of each level of a raw head.
  int maps() const { return task == Task::detect ? 2 : 3; }
};

struct ModelSpec {
  std::string path;           ///< as the user wrote it, for messages
  std::string_view contents;  ///< bytes of a model in memory, borrowed during loading; empty: the model is in files
  Format format = Format::onnx;
  std::filesystem::path graph;     ///< .onnx, .param, .xml, .engine or .tflite
  std::filesystem::path weights;   ///< .bin of NCNN and OpenVINO
  std::uintmax_t plan = 0;         ///< for .engine: offset of the plan
  std::vector<std::string> names;  ///< empty: unknown
  bool placeholders = false;       ///< the names are class0, class1, ... and may be more than the classes
  Skeleton skeleton;               ///< pose; empty: unknown
  int height = 0, width = 0;       ///< 0: unknown
  int stride = 32;                 ///< sides of a dynamic input are multiples of it
  InputFormat input;
  HeadLayout layout;
  int max_batch = 0;      ///< maximum number of images per run if the graph's shapes do not fix it; 0: any
  std::string precision;  ///< precision of the file; empty: unknown
  std::string engine;     ///< engine that the model was made for; empty or unknown: any
  std::string source;     ///< SHA-256 of the source checkpoint; empty: unknown
  std::map<std::string, std::string> metadata;
  bool whole = false;  ///< run the graph up to its own outputs, even if they are decoded in it

  /// Whether an engine may stop at the maps of find_raw_maps(): the model is an Ultralytics export, so its decoding is
  /// known; it decodes in the graph; and it is small enough to be rewritten in memory.
  bool may_be_cut() const;
};

/// Metadata layout this library writes and reads; a newer one is refused.
inline constexpr int metadata_format = 1;

/// Maximum number of levels of a raw head.
inline constexpr std::size_t max_levels = 8;

/// Largest side of a network input, pixels.
inline constexpr int max_imgsz = 16384;

/// Maximum number of channels of a network input.
inline constexpr int max_channels = 512;

/// Channels of the network input: from the graph; if dynamic there (0), from the spec; otherwise 3.
inline int channels_of(const ModelSpec& spec, int in_graph) {
  return in_graph ? in_graph : spec.input.channels ? spec.input.channels : 3;
}

/// Total size of the files of a model in bytes; 0 for a model in memory.
std::uintmax_t model_bytes(const ModelSpec& spec);

/// The error if neither the model nor the caller has an input size.
ModelError unknown_imgsz(const ModelSpec& spec);

/// Finds the files and reads the metadata, but not the network itself. Throws FileNotFound, ModelError.
ModelSpec read_model(const std::string& path);
/// The same for a model in memory; `format` as in ModelBytes. Throws ModelError, std::invalid_argument.
ModelSpec read_model(std::string_view contents, const std::string& format);

/// The bytes of the graph, from its file or from memory.
struct GraphStream {
  std::unique_ptr<std::istream> stream;
  std::uint64_t size = 0;
};
/// Throws ModelError.
GraphStream open_graph(const ModelSpec& spec);
std::string read_graph(const ModelSpec& spec);

}  // namespace yolort
