// yolort: run a YOLO model on NCNN, TensorRT, ONNX Runtime or OpenVINO with one class.
//
//   yolort::Detector detector("yolo26n_ncnn_model");
//   yolort::Detections found = detector.detect({pixels, width, height});
//   for (std::size_t i = 0; i < found.size(); ++i)
//     std::cout << detector.names().at(found.classes[i]) << ' ' << found.scores[i] << '\n';
//
// A Detector works as soon as it is constructed. Anything wrong is an exception that says what, where and what to
// do: FileNotFound, ModelError, EngineError (all yolort::Error) or std::invalid_argument for a bad argument.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "yolort/export.h"

namespace yolort {

struct YOLORT_API Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};
/// A path that does not exist.
struct YOLORT_API FileNotFound : Error {
  using Error::Error;
};
/// The model file or its metadata is missing parts, damaged, hostile or newer than this library.
struct YOLORT_API ModelError : Error {
  using Error::Error;
};
/// No engine can run the model here, or the engine failed.
struct YOLORT_API EngineError : Error {
  using Error::Error;
};

enum class PixelFormat {
  bgr,
  rgb,
  bgra,
  rgba,
  gray,
  channels  ///< Image::channels values for each pixel, in the order of the network
};

enum class Memory { host, cuda };

/// Borrowed 8-bit pixels; they must stay valid during the call that takes them.
struct Image {
  const std::uint8_t* pixels = nullptr;  ///< first pixel of the top row
  int width = 0;                         ///< pixels, 1 to max_side
  int height = 0;                        ///< pixels, 1 to max_side
  std::ptrdiff_t stride = 0;             ///< bytes from one row to the next (may be negative); 0: rows are packed
  PixelFormat format = PixelFormat::bgr;
  Memory memory = Memory::host;  ///< cuda: pixels of the GPU that the Detector runs on, which are not copied
  void* stream = nullptr;        ///< CUDA stream (CUstream) that writes pixels of a GPU; null: they are written

  int channels = 0;  ///< of PixelFormat::channels, else unused: 1 to 512

  static constexpr int max_side = 65535;
};

struct Box {
  float x1, y1, x2, y2;  ///< pixels of the original image, clipped to it
};

/// What a model finds: boxes, and with them masks, keypoints or turned boxes; or, of a Classifier, what an image shows.
enum class Task { detect, segment, pose, obb, classify };

/// The pixels of an object: one bit for each pixel of a rectangle of the original image. Copies share the bits.
struct YOLORT_API Mask {
  int x = 0, y = 0, width = 0, height = 0;   ///< the rectangle, pixels of the original image
  std::shared_ptr<const std::uint8_t> bits;  ///< row by row, each of row_bytes(); the lowest bit is the leftmost pixel

  std::size_t row_bytes() const { return (static_cast<std::size_t>(width) + 7) / 8; }
  /// Whether a pixel of the image belongs to the object; outside the rectangle none does.
  bool at(int column, int row) const;
  /// Number of pixels of the object.
  std::size_t area() const;
  /// The `counts` of COCO's compressed RLE in an image of this size: the lengths of the runs of pixels column by
  /// column, the first run outside the object, as text (cocoapi, common/maskApi.c, rleToString). Throws
  /// std::invalid_argument if the mask does not lie in the image.
  std::string rle(int image_width, int image_height) const;
};

/// A box turned around its center.
struct RotatedBox {
  float cx, cy, width, height;  ///< pixels of the original image; not clipped
  float angle;                  ///< radians, clockwise in the image
};

/// x, y of the four corners, in order around the box: those right and below, right and above, left and above, left and
/// below the center of a box that is not turned.
YOLORT_API std::array<float, 8> corners(const RotatedBox& box);

/// The limbs of a pose: the two keypoints of each.
using Skeleton = std::vector<std::array<int, 2>>;

/// Detections of one image, best score first; all vectors that are not empty have the same length.
struct Detections {
  std::vector<Box> boxes;
  std::vector<float> scores;        ///< 0 to 1
  std::vector<int> classes;         ///< keys of Detector::names()
  std::vector<Mask> masks;          ///< of Task::segment
  std::vector<RotatedBox> rotated;  ///< of Task::obb; `boxes` are their axis-aligned hulls
  /// Of Task::pose: for each detection the keypoints, x y in pixels of the original image, clipped to it, and if they
  /// have three values the visibility, 0 to 1.
  std::vector<float> keypoints;
  std::array<int, 2> kpt_shape{};  ///< keypoints of a detection, and values of each: 2 or 3

  std::size_t size() const { return boxes.size(); }
  bool empty() const { return boxes.empty(); }
};

/// What counts as a detection. The defaults are those of Ultralytics' predict.
struct Thresholds {
  float conf = 0.25f;               ///< keep scores above this, 0 to 1
  float iou = 0.7f;                 ///< NMS drops a box whose IoU with a better one is above this, 0 to 1
  int max_det = 300;                ///< at most this many detections an image, 1 or more
  std::vector<int> classes;         ///< keep only these classes; empty: all
  bool agnostic = false;            ///< NMS across classes
  bool multi_label = false;         ///< every class of a box above conf, not only its best (evaluation)
  std::vector<float> class_conf{};  ///< a conf for each class, which replaces `conf`; empty: `conf` for all
};

/// How what several views of an image find becomes one set.
enum class Merge {
  wbf,  ///< weighted boxes fusion (arXiv:1910.13302): the mean of the boxes of an object, and of their scores
  nms,  ///< the best box of an object
};

/// One view of test-time augmentation, whose detections are merged with those of the others.
struct View {
  int scale = 0;               ///< pixels: the longer side of what the image is fitted into
  bool flip = false;           ///< mirrored, left to right
  std::array<int, 2> imgsz{};  ///< height, width of the network input around it; with rect its maximum
  std::string model;           ///< the artifact that runs it
};

struct Options : Thresholds {
  std::string engine;              ///< "ncnn", "onnxruntime", ...; empty: $YOLORT_ENGINE, else the best available
  std::string device;              ///< "cpu"; "0", "cuda:0" or "vulkan:0": a GPU; empty: the engine's default
  std::string precision;           ///< "fp32", "fp16", "fp16-storage" (fp32 sums), "bf16"; of an INT8 model "int8" or
                                   ///< "int8+bf16", which says what its float layers compute in; empty: the fastest
                                   ///< that keeps the accuracy. onnxruntime and tensorrt compute in what the file holds
  std::optional<int> threads;      ///< 1 to four for each core; unset: one for each core
  std::vector<std::string> names;  ///< class names, for a model that carries none
  std::vector<int> flip_idx;       ///< of poses, if the model does not say: which keypoint each one is in a mirrored
                                   ///< image. Empty: the model's own, or COCO's for 17 keypoints of one class "person"
  Skeleton skeleton;               ///< the same of the limbs, see Detector::skeleton()

  // How pixels become the network input, for a model whose metadata does not say it.
  std::string channels;             ///< order of three channels, "rgb" or "bgr"; or their number, "1" to "512"
  std::string resize;               ///< "letterbox", or "stretch": to the network input, whatever the proportions
  std::vector<float> mean, stddev;  ///< the input is (grey level / 255 - mean) / stddev; one value, or one per channel

  bool profile = false;  ///< time every layer, which slows the whole; see Detector::layer_times()
  bool tuned = true;     ///< take what `yolort tune` recorded, if engine, device, precision and threads are left open
  std::optional<std::array<int, 2>> imgsz;  ///< height, width, for a dynamic model or one that carries none; sides of
                                            ///< a dynamic model are rounded up to multiples of its stride
  /// Pad each image only to the stride of the model, so that the input is as small as its proportions allow, within
  /// imgsz, as Ultralytics does; false: to imgsz. Unset: true if height and width of the model are dynamic, which true
  /// needs. Images of equal padded size run together.
  std::optional<bool> rect;

  /// Settings of the engine under its own names, which onnxruntime takes: options of the execution provider on `device`
  /// ("trt_fp16_enable") and, with a dot in the name, of the session ("session.intra_op.allow_spinning").
  std::map<std::string, std::string> engine_options;

  /// Test-time augmentation: detect in several views of each image, and merge what they find. Any of `augment`,
  /// `scales` and `scale_models` asks for it; the thresholds hold for the merged result.
  bool augment = false;
  /// Fit the image into each of these, 32 to 16384 pixels: longer sides of the network input, whose proportions stay.
  /// A dynamic model runs at that size (padded to its stride), a fixed one with the image in the middle of its input.
  /// Empty: only the input size.
  std::vector<int> scales;
  bool flip = true;  ///< each scale mirrored too
  Merge merge = Merge::wbf;
  /// Artifacts with the same classes, for the scales that are their input sizes.
  std::vector<std::string> scale_models;

  /// Called by the caller's thread between two runs of the network in one detect(); what it throws ends that call. It
  /// may use the Detector itself, as other threads may then.
  std::function<void()> between_runs;
};

/// Milliseconds of the last detect(), per call (a batch is one call).
struct Speed {
  double pre = 0, inference = 0, post = 0;
};

/// What a layer of the network takes of one run.
struct LayerTime {
  std::string name, type;  ///< the engine's own
  double ms = 0;
};

/// A model in memory, such as one that was decrypted or embedded. The bytes are read during construction only.
struct ModelBytes {
  const void* data = nullptr;
  std::size_t size = 0;
  std::string format;  ///< "onnx"; "tensorrt": those of an .engine file
};

/// Numbers of a tensor, row by row.
struct Array {
  std::vector<int> shape;  ///< the first is the batch
  std::vector<float> values;
};

/// One model on one engine. Calls on one Detector are serialized; give each thread its own clone().
class YOLORT_API Detector {
 public:
  /// `model`: an .onnx, .engine or .tflite file, an NCNN folder (`*_ncnn_model`) or .param, an OpenVINO folder
  /// (`*_openvino_model`) or .xml. Throws FileNotFound, ModelError, EngineError, std::invalid_argument.
  explicit Detector(const std::string& model, const Options& options = {});
  explicit Detector(const ModelBytes& model, const Options& options = {});
  Detector(Detector&&) noexcept;
  Detector& operator=(Detector&&) noexcept;
  ~Detector();

  Detections detect(const Image& image);
  Detections detect(const Image& image, const Thresholds& thresholds);
  /// One result an image, in order; engines with a batch dimension run them together.
  std::vector<Detections> detect(const std::vector<Image>& images, const Thresholds& thresholds);
  /// With or without test-time augmentation, of a Detector that was constructed with it; the others do as it
  /// was constructed. Throws std::invalid_argument if `augment` asks for what was not constructed.
  std::vector<Detections> detect(const std::vector<Image>& images, const Thresholds& thresholds, bool augment);

  /// Only the network: `input`, `batch` x channels() x height x width, mostly in 0 to 1, to the outputs of the model,
  /// copied. A static batch must be met. Not for detecting, which copies nothing; for tools that compare or calibrate.
  /// A model whose graph decodes its boxes may give the maps before that.
  std::vector<Array> infer(const float* input, int batch);

  /// Means of every layer, in order of execution, over the runs since the last call, of Options::profile. Empty
  /// without that. With test-time augmentation: of the runs at imgsz() only. With rect: at the last other size, if any.
  std::vector<LayerTime> layer_times();

  /// Another Detector on the same weights, with its own buffers.
  Detector clone() const;

  const std::vector<std::string>& names() const;
  std::array<int, 2> imgsz() const;                ///< height, width of the network input; its maximum with rect
  int channels() const;                            ///< of the network input: 3, 1 of a gray image, or more
  bool rect() const;                               ///< images are padded only to the stride
  int batch() const;                               ///< most images of a run; 0: any number
  const Thresholds& thresholds() const;            ///< those given at construction
  void check(const Thresholds& thresholds) const;  ///< throws std::invalid_argument, as detect() does
  const std::string& engine() const;               ///< name of the engine that runs
  const std::string& device() const;               ///< "cpu", "vulkan:0 <name>", ...
  const std::string& precision() const;            ///< what the engine computes in: "fp32", "bf16", ...
  bool tuned() const;                              ///< it runs as `yolort tune` recorded
  std::string explain() const;                     ///< lines: why this engine and precision, and of every other
                                                   ///< engine whether it could run the model
  const std::string& head() const;                 ///< "raw", "raw-e2e", "boxes", "end2end", "rows" or "indexed"
  Task task() const;
  const Skeleton& skeleton() const;                            ///< of Task::pose, for drawing; empty: unknown
  const std::map<std::string, std::string>& metadata() const;  ///< the model's own, as text
  const std::vector<View>& views() const;                      ///< of test-time augmentation; empty: without
  Speed speed() const;

 private:
  friend class Classifier;
  struct Impl;
  explicit Detector(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// What one image shows.
struct YOLORT_API Classification {
  std::vector<float> probs;  ///< one score for each class; probabilities if the graph ends in a softmax

  /// The `count` best classes, best first.
  std::vector<int> top(std::size_t count = 5) const;
};

/// One classifying model on one engine. Images are resized and cropped as Ultralytics does: the shorter side to that of
/// the input, whose middle is kept, or, if the input is no square, both sides; by Pillow's antialiased bilinear
/// interpolation. Calls on one Classifier are serialized; give each thread its own clone().
class YOLORT_API Classifier {
 public:
  /// As of Detector. Thresholds and keypoints have no meaning here; rect and test-time augmentation are refused.
  explicit Classifier(const std::string& model, const Options& options = {});
  explicit Classifier(const ModelBytes& model, const Options& options = {});
  Classifier(Classifier&&) noexcept;
  Classifier& operator=(Classifier&&) noexcept;
  ~Classifier();

  Classification classify(const Image& image);
  /// One result per image, in order; engines with a batch dimension run them together.
  std::vector<Classification> classify(const std::vector<Image>& images);
  /// Another Classifier on the same weights, with its own buffers.
  Classifier clone() const;

  // As of Detector.
  const std::vector<std::string>& names() const;
  std::array<int, 2> imgsz() const;
  int channels() const;
  int batch() const;
  const std::string& engine() const;
  const std::string& device() const;
  const std::string& precision() const;
  bool tuned() const;
  std::string explain() const;
  const std::map<std::string, std::string>& metadata() const;
  Speed speed() const;

 private:
  struct Impl;
  explicit Classifier(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

struct EngineStatus {
  std::string name;
  bool available;
  std::string reason;   ///< why it is not available; empty when it is
  std::string version;  ///< of what it runs on; empty if it is not available
  std::string library;  ///< path of the shared library that it runs on; empty if that is built in, or not available
};

/// Every engine this build knows, best first.
YOLORT_API std::vector<EngineStatus> engines();

/// What Options::device may be for an engine, the default first; after a space the name of the hardware:
/// "vulkan:0 NVIDIA H200". Opens the drivers. Throws std::invalid_argument for an unknown engine and EngineError if
/// it is not available.
YOLORT_API std::vector<std::string> devices(const std::string& engine);

}  // namespace yolort
