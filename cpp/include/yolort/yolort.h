// yolort: run a YOLO model on NCNN, TensorRT, ONNX Runtime or OpenVINO with one class.
//
//   yolort::Detector detector("yolo26n_ncnn_model");
//   yolort::Detections found = detector.detect({pixels, width, height});
//   for (std::size_t i = 0; i < found.size(); ++i)
//     std::cout << detector.names().at(found.classes[i]) << ' ' << found.scores[i] << '\n';
//
// A Detector is ready to use once constructed. Errors are exceptions that name the file, the cause and the fix:
// FileNotFound, ModelError, EngineError (all yolort::Error), or std::invalid_argument for a bad argument.
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
  channels  ///< Image::channels values per pixel, in the network's channel order
};

enum class Memory { host, cuda };

/// Borrowed 8-bit pixels; they must stay valid during the call that takes them.
struct Image {
  const std::uint8_t* pixels = nullptr;  ///< first pixel of the top row
  int width = 0;                         ///< pixels, 1 to max_side
  int height = 0;                        ///< pixels, 1 to max_side
  std::ptrdiff_t stride = 0;             ///< bytes from one row to the next (may be negative); 0: rows are packed
  PixelFormat format = PixelFormat::bgr;
  Memory memory = Memory::host;  ///< cuda: the pixels are on the Detector's GPU and are not copied
  void* stream = nullptr;        ///< CUDA stream (CUstream) that writes GPU pixels; null: already written

  int channels = 0;  ///< only for PixelFormat::channels: 1 to 512

  static constexpr int max_side = 65535;
};

struct Box {
  float x1, y1, x2, y2;  ///< pixels of the original image, clipped to it
};

/// What a model predicts: boxes, optionally with masks, keypoints or rotated boxes; or, for a Classifier, classes.
enum class Task { detect, segment, pose, obb, classify };

/// The pixels of an object: one bit per pixel of a rectangle in the original image. Copies share the bits.
struct YOLORT_API Mask {
  int x = 0, y = 0, width = 0, height = 0;   ///< the rectangle, pixels of the original image
  std::shared_ptr<const std::uint8_t> bits;  ///< row by row, each of row_bytes(); the lowest bit is the leftmost pixel

  std::size_t row_bytes() const { return (static_cast<std::size_t>(width) + 7) / 8; }
  /// Whether a pixel of the image belongs to the object; false outside the rectangle.
  bool at(int column, int row) const;
  /// Number of pixels of the object.
  std::size_t area() const;
  /// The `counts` of COCO's compressed RLE in an image of this size: the lengths of the runs of pixels column by
  /// column, the first run outside the object, as text (cocoapi, common/maskApi.c, rleToString). Throws
  /// std::invalid_argument if the mask does not lie in the image.
  std::string rle(int image_width, int image_height) const;
};

/// A box rotated around its center.
struct RotatedBox {
  float cx, cy, width, height;  ///< pixels of the original image; not clipped
  float angle;                  ///< radians, clockwise in the image
};

/// x, y of the four corners, in order around the box: for angle 0 bottom right, top right, top left and
/// bottom left.
YOLORT_API std::array<float, 8> corners(const RotatedBox& box);

/// The limbs of a pose, each a pair of keypoints.
using Skeleton = std::vector<std::array<int, 2>>;

/// Detections of one image, best score first; all vectors that are not empty have the same length.
struct Detections {
  std::vector<Box> boxes;
  std::vector<float> scores;        ///< 0 to 1
  std::vector<int> classes;         ///< keys of Detector::names()
  std::vector<Mask> masks;          ///< for Task::segment
  std::vector<RotatedBox> rotated;  ///< for Task::obb; `boxes` are their axis-aligned hulls
  /// For Task::pose: the keypoints of each detection, x y in pixels of the original image, clipped to it. If a keypoint
  /// has three values, the third is its visibility, 0 to 1.
  std::vector<float> keypoints;
  std::array<int, 2> kpt_shape{};  ///< keypoints of a detection, and values of each: 2 or 3

  std::size_t size() const { return boxes.size(); }
  bool empty() const { return boxes.empty(); }
};

/// Thresholds of a detection. The defaults are those of Ultralytics' predict.
struct Thresholds {
  float conf = 0.25f;               ///< keep scores above this, 0 to 1
  float iou = 0.7f;                 ///< NMS drops a box whose IoU with a better one is above this, 0 to 1
  int max_det = 300;                ///< maximum number of detections per image, at least 1
  std::vector<int> classes;         ///< keep only these classes; empty: all
  bool agnostic = false;            ///< apply NMS across classes
  bool multi_label = false;         ///< report every class of a box above conf, not only its best (evaluation)
  std::vector<float> class_conf{};  ///< a threshold per class, which replaces `conf`; empty: `conf` for all
};

/// How the detections of several views of an image are merged.
enum class Merge {
  wbf,  ///< weighted boxes fusion (arXiv:1910.13302): the mean of an object's boxes and of their scores
  nms,  ///< the best box of each object
};

/// One view of test-time augmentation. The detections of all views are merged.
struct View {
  int scale = 0;               ///< longer side, in pixels, of the size that the image is fitted into
  bool flip = false;           ///< mirrored, left to right
  std::array<int, 2> imgsz{};  ///< height, width of the network input; with rect its maximum
  std::string model;           ///< the artifact that runs this view
};

struct Options : Thresholds {
  std::string engine;              ///< "ncnn", "onnxruntime", ...; empty: $YOLORT_ENGINE, else the best available
  std::string device;              ///< "cpu"; "0", "cuda:0" or "vulkan:0": a GPU; empty: the engine's default
  std::string precision;           ///< "fp32", "fp16", "fp16-storage" (fp32 sums), "bf16"; for an INT8 model "int8" or
                                   ///< "int8+bf16", which sets the precision of its float layers; empty: the fastest
                                   ///< that keeps the accuracy. onnxruntime and tensorrt use the file's precision
  std::optional<int> threads;      ///< 1 to four per core; unset: one per core
  std::vector<std::string> names;  ///< class names, for a model without them
  std::vector<int> flip_idx;       ///< for poses: the index of each keypoint's counterpart in a mirrored image. Empty:
                                   ///< the model's own, or COCO's for 17 keypoints of one class "person"
  Skeleton skeleton;               ///< for poses: the limbs, see Detector::skeleton()

  // Input format, for a model whose metadata does not record it.
  std::string channels;             ///< channel order, "rgb" or "bgr"; or the number of channels, "1" to "512"
  std::string resize;               ///< "letterbox", or "stretch" to the network input without keeping proportions
  std::vector<float> mean, stddev;  ///< the input is (grey level / 255 - mean) / stddev; one value, or one per channel

  bool profile = false;  ///< time every layer, which slows down detection; see Detector::layer_times()
  bool tuned = true;     ///< use the record of `yolort tune` if engine, device, precision and threads are unset
  std::optional<std::array<int, 2>> imgsz;  ///< height, width, for a dynamic model or one without them; sides of
                                            ///< a dynamic model are rounded up to multiples of its stride
  /// true: pad each image only to the stride of the model, within imgsz, as Ultralytics does; needs dynamic height and
  /// width. false: pad to imgsz. Unset: true if height and width of the model are dynamic. Images of equal padded size
  /// run together.
  std::optional<bool> rect;

  /// Settings of the engine under its own names. Only onnxruntime has them: options of the execution provider of
  /// `device` ("trt_fp16_enable") and, with a dot in the name, of the session ("session.intra_op.allow_spinning").
  std::map<std::string, std::string> engine_options;

  /// Test-time augmentation: detect in several views of each image and merge the detections. Enabled by any of
  /// `augment`, `scales` and `scale_models`; the thresholds apply to the merged result.
  bool augment = false;
  /// Sizes to fit the image into: longer side of the network input, 32 to 16384 pixels; proportions are kept.
  /// A dynamic model runs at that size (padded to its stride), a fixed one with the image centered in its input.
  /// Empty: only the input size.
  std::vector<int> scales;
  bool flip = true;  ///< also mirror each scale
  Merge merge = Merge::wbf;
  /// Artifacts with the same classes, used for scales that equal their input sizes.
  std::vector<std::string> scale_models;

  /// Called in the caller's thread between two runs of the network in one detect(); an exception from it ends that
  /// call. It may use the Detector itself, and so may other threads meanwhile.
  std::function<void()> between_runs;
};

/// Milliseconds of the last detect(), per call (a batch is one call).
struct Speed {
  double pre = 0, inference = 0, post = 0;
};

/// Time of one layer per run.
struct LayerTime {
  std::string name, type;  ///< as named by the engine
  double ms = 0;
};

/// A model in memory, for example decrypted or embedded. The bytes are read only during construction.
struct ModelBytes {
  const void* data = nullptr;
  std::size_t size = 0;
  std::string format;  ///< "onnx", or "tensorrt" for the bytes of an .engine file
};

/// Values of a tensor, in row-major order.
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
  /// One result per image, in order; engines with a batch dimension run them together.
  std::vector<Detections> detect(const std::vector<Image>& images, const Thresholds& thresholds);
  /// With or without test-time augmentation; the other overloads use augmentation if the Detector was constructed with
  /// it. Throws std::invalid_argument if `augment` is true and the Detector was constructed without it.
  std::vector<Detections> detect(const std::vector<Image>& images, const Thresholds& thresholds, bool augment);

  /// Runs only the network on `input`, `batch` x channels() x height x width, usually in 0 to 1, and returns copies of
  /// its outputs. `batch` must equal a static batch size. For tools that compare or calibrate; detect() copies nothing.
  /// If the graph decodes boxes, the outputs may be the maps before decoding.
  std::vector<Array> infer(const float* input, int batch);

  /// Mean time of each layer, in order of execution, over the runs since the last call; empty without
  /// Options::profile. With test-time augmentation: only runs at imgsz(). With rect: at the last other size, if any.
  std::vector<LayerTime> layer_times();

  /// Another Detector on the same weights, with its own buffers.
  Detector clone() const;

  const std::vector<std::string>& names() const;
  std::array<int, 2> imgsz() const;                ///< height, width of the network input; its maximum with rect
  int channels() const;                            ///< channels of the network input: 3, 1 for gray images, or more
  bool rect() const;                               ///< images are padded only to the stride
  int batch() const;                               ///< maximum number of images per run; 0: any number
  const Thresholds& thresholds() const;            ///< those given at construction
  void check(const Thresholds& thresholds) const;  ///< throws std::invalid_argument, as detect() does
  const std::string& engine() const;               ///< name of the engine that runs
  const std::string& device() const;               ///< "cpu", "vulkan:0 <name>", ...
  const std::string& precision() const;            ///< precision that the engine computes in: "fp32", "bf16", ...
  bool tuned() const;                              ///< whether the record of `yolort tune` is in use
  std::string explain() const;                     ///< lines that say why this engine and precision were chosen, and
                                                   ///< whether each other engine could run the model
  const std::string& head() const;                 ///< "raw", "raw-e2e", "boxes", "end2end", "rows" or "indexed"
  Task task() const;
  const Skeleton& skeleton() const;                            ///< for Task::pose, for drawing; empty: unknown
  const std::map<std::string, std::string>& metadata() const;  ///< metadata of the model, as text
  const std::vector<View>& views() const;                      ///< views of test-time augmentation; empty without it
  Speed speed() const;

 private:
  friend class Classifier;
  struct Impl;
  explicit Detector(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// The classes of one image.
struct YOLORT_API Classification {
  std::vector<float> probs;  ///< one score for each class; probabilities if the graph ends in a softmax

  /// The `count` best classes, best first.
  std::vector<int> top(std::size_t count = 5) const;
};

/// One classification model on one engine. Images are resized with Pillow's antialiased bilinear interpolation and
/// cropped as in Ultralytics: for a square input the shorter side is resized and the center is cropped; otherwise both
/// sides are resized. Calls on one Classifier are serialized; give each thread its own clone().
class YOLORT_API Classifier {
 public:
  /// The same as for Detector. Thresholds and keypoints are ignored; rect and test-time augmentation are refused.
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

  // The same as for Detector.
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
  std::string version;  ///< version of its library; empty if it is not available
  std::string library;  ///< path of its shared library; empty if the engine is built in or not available
};

/// All engines of this build, best first.
YOLORT_API std::vector<EngineStatus> engines();

/// Valid values of Options::device for an engine, the default first; the name of the hardware follows after a space:
/// "vulkan:0 NVIDIA H200". Opens the drivers. Throws std::invalid_argument for an unknown engine and EngineError if
/// it is not available.
YOLORT_API std::vector<std::string> devices(const std::string& engine);

}  // namespace yolort
