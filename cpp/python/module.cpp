// yolort._core: convert, release the GIL, call, wrap; nothing else.
#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <future>
#include <optional>
#include <utility>

#include "device_name.h"
#include "engine.h"
#include "letterbox.h"
#include "libraries.h"
#include "tuning.h"
#include "yolort/c.h"
#include "yolort/yolort.h"
#ifdef YOLORT_TENSORRT
#include "engines/tensorrt.h"
#endif

namespace fs = std::filesystem;
namespace py = pybind11;

namespace yolort {
namespace {

/// Names and messages come from files: bytes that are no UTF-8 must not raise.
py::str to_str(const std::string& text) {
  return py::reinterpret_steal<py::str>(
      PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace"));
}

// ---- images ----

PixelFormat parse_format(const std::string& name) {
  static const std::pair<const char*, PixelFormat> formats[] = {{"bgr", PixelFormat::bgr},
                                                                {"rgb", PixelFormat::rgb},
                                                                {"bgra", PixelFormat::bgra},
                                                                {"rgba", PixelFormat::rgba},
                                                                {"gray", PixelFormat::gray}};
  for (const auto& [known, format] : formats) {
    if (name == known) return format;
  }
  throw std::invalid_argument("format is \"" + name + "\", expected bgr, rgb, bgra, rgba or gray");
}

Merge parse_merge(const std::string& name) {
  if (name == "wbf") return Merge::wbf;
  if (name == "nms") return Merge::nms;
  throw std::invalid_argument("merge is \"" + name + "\", expected wbf or nms");
}

struct HeldImage {
  py::object owner;
  Image image;
};

/// What an array of pixels says of itself, in elements.
struct Pixels {
  const void* data;
  std::vector<py::ssize_t> shape, strides;
  bool packed = false;  ///< within a row

  /// The image, but for its rows where they are not packed. Throws std::invalid_argument.
  Image image(std::optional<PixelFormat> asked) {
    const std::size_t dims = shape.size();
    const py::ssize_t channels = dims == 2 ? 1 : dims == 3 ? shape[2] : 0;
    if (channels != 1 && channels != 3 && channels != 4) {
      throw std::invalid_argument(
          "image: expected shape (height, width), (height, width, 3) or (height, width, 4), got " +
          std::string(py::str(py::tuple(py::cast(shape)))));
    }
    const py::ssize_t height = shape[0], width = shape[1];
    if (height < 1 || width < 1 || height > Image::max_side || width > Image::max_side) {
      throw std::invalid_argument("image: " + std::to_string(width) + " x " + std::to_string(height) +
                                  " pixels, expected 1 to " + std::to_string(Image::max_side) + " a side");
    }
    PixelFormat format = channels == 1 ? PixelFormat::gray : channels == 3 ? PixelFormat::bgr : PixelFormat::bgra;
    if (asked) {
      const bool four = *asked == PixelFormat::bgra || *asked == PixelFormat::rgba;
      const py::ssize_t needed = *asked == PixelFormat::gray ? 1 : four ? 4 : 3;
      if (needed != channels) {
        throw std::invalid_argument("image: the format asked for has " + std::to_string(needed) +
                                    " channel(s), the array " + std::to_string(channels));
      }
      format = *asked;
    }
    packed = (channels == 1 || strides[2] == 1) && (width == 1 || strides[1] == channels) &&
             (height == 1 || std::abs(strides[0]) >= width * channels);
    return {static_cast<const std::uint8_t*>(data), static_cast<int>(width), static_cast<int>(height),
            height == 1 ? 0 : strides[0], format};
  }
};

/// HxW, HxWx1, HxWx3 or HxWx4 uint8. Rows may lie anywhere; pixels that are not packed within a row are copied.
HeldImage hold_array(py::array array, std::optional<PixelFormat> asked) {
  if (!py::dtype::of<std::uint8_t>().is(array.dtype())) {
    throw py::type_error("image: expected uint8 pixels (0 to 255), got " + std::string(py::str(array.dtype())) +
                         (array.dtype().kind() == 'f' ? "; convert with (image * 255).astype(numpy.uint8)" : ""));
  }
  const auto pixels_of = [&] {
    return Pixels{
        array.data(), {array.shape(), array.shape() + array.ndim()}, {array.strides(), array.strides() + array.ndim()}};
  };
  Pixels pixels = pixels_of();
  Image image = pixels.image(asked);
  if (!pixels.packed) {
    array = py::module_::import("numpy").attr("ascontiguousarray")(array);
    image = pixels_of().image(asked);
  }
  return {std::move(array), image};
}

/// The beginning of DLPack's DLManagedTensor (https://dmlc.github.io/dlpack/latest/c_api.html).
struct DlTensor {
  void* data;
  std::int32_t device_type, device_id;
  std::int32_t ndim;
  std::uint8_t type_code, type_bits;
  std::uint16_t type_lanes;
  std::int64_t *shape, *strides;  ///< strides may be null: packed
  std::uint64_t byte_offset;
};
constexpr std::int32_t dl_cuda = 2, dl_cuda_managed = 13;

/// Pixels that DLPack or __cuda_array_interface__ say are in CUDA memory; nothing is copied.
HeldImage hold_cuda_array(const py::object& object, std::optional<PixelFormat> asked) {
  // Of both protocols: the stream whose work comes after what writes the pixels. 1 is CUDA's default stream.
  std::uintptr_t stream = 1;
  Pixels pixels{};
  bool bytes = false;
  py::object owner = object;
  if (py::hasattr(object, "__dlpack__")) {
    owner = object.attr("__dlpack__")(py::arg("stream") = stream);  // it frees what it holds when it goes
    const auto* tensor = static_cast<const DlTensor*>(PyCapsule_GetPointer(owner.ptr(), "dltensor"));
    if (!tensor) throw py::error_already_set();
    if (tensor->device_type != dl_cuda && tensor->device_type != dl_cuda_managed) {
      throw py::type_error("image: its __dlpack__ gives other memory than its __dlpack_device__ says");
    }
    bytes = tensor->type_code == 1 && tensor->type_bits == 8 && tensor->type_lanes == 1;
    pixels.data = static_cast<const std::uint8_t*>(tensor->data) + tensor->byte_offset;
    pixels.shape.assign(tensor->shape, tensor->shape + tensor->ndim);
    if (tensor->strides) pixels.strides.assign(tensor->strides, tensor->strides + tensor->ndim);
  } else {
    const auto interface = object.attr("__cuda_array_interface__").cast<py::dict>();
    bytes = interface["typestr"].cast<std::string>().substr(1) == "u1";
    pixels.data = reinterpret_cast<const void*>(interface["data"].cast<py::tuple>()[0].cast<std::uintptr_t>());
    pixels.shape = interface["shape"].cast<std::vector<py::ssize_t>>();
    if (interface.contains("strides") && !interface["strides"].is_none()) {
      pixels.strides = interface["strides"].cast<std::vector<py::ssize_t>>();
    }
    if (interface.contains("stream")) {
      stream = interface["stream"].is_none() ? 0 : interface["stream"].cast<std::uintptr_t>();
    }
  }
  if (!bytes) throw py::type_error("image: expected uint8 pixels (0 to 255) in CUDA memory");
  if (pixels.strides.empty()) {
    pixels.strides.assign(pixels.shape.size(), 1);
    for (std::size_t d = pixels.shape.size(); d-- > 1;) pixels.strides[d - 1] = pixels.strides[d] * pixels.shape[d];
  }
  Image image = pixels.image(asked);
  if (!pixels.packed) {
    throw std::invalid_argument(
        "image: its pixels in CUDA memory are not packed within a row, height x width x channels; permute it and make "
        "it contiguous");
  }
  image.memory = Memory::cuda;
  image.stream = reinterpret_cast<void*>(stream);
  return {std::move(owner), image};
}

HeldImage hold_image(const py::handle& handle, std::optional<PixelFormat> asked) {
  const auto object = py::reinterpret_borrow<py::object>(handle);
  if (py::isinstance<py::array>(object)) return hold_array(object, asked);
  if (py::hasattr(object, "__dlpack_device__")) {
    const auto device = object.attr("__dlpack_device__")().cast<std::pair<std::int32_t, std::int32_t>>().first;
    if (device == dl_cuda || device == dl_cuda_managed) return hold_cuda_array(object, asked);
    return hold_array(py::module_::import("numpy").attr("from_dlpack")(object), asked);
  }
  if (py::hasattr(object, "__cuda_array_interface__")) return hold_cuda_array(object, asked);
  throw py::type_error("image: expected an array of uint8, got " +
                       std::string(py::str(py::type::of(object).attr("__name__"))));
}

// ---- results ----

template <class T, class Source>
py::array_t<T> to_array(const std::vector<Source>& values, std::vector<py::ssize_t> shape) {
  py::array_t<T> out(std::move(shape));
  if (!values.empty()) std::memcpy(out.mutable_data(), values.data(), values.size() * sizeof(Source));
  return out;
}

py::tuple to_tuple(const Detections& found) {
  static_assert(sizeof(Box) == 4 * sizeof(float) && sizeof(int) == sizeof(std::int32_t));
  const auto n = static_cast<py::ssize_t>(found.size());
  return py::make_tuple(to_array<float>(found.boxes, {n, 4}), to_array<float>(found.scores, {n}),
                        to_array<std::int32_t>(found.classes, {n}));
}

// ---- engines written in Python ----

std::vector<int> shape_of(const py::array& array) {
  return std::vector<int>(array.shape(), array.shape() + array.ndim());
}

/// Borrows a C-contiguous f32 or f16 array.
Tensor as_tensor(const py::array& array, const std::string& engine) {
  const char kind = array.dtype().kind();
  const auto size = array.dtype().itemsize();
  if (kind != 'f' || (size != 4 && size != 2)) {
    throw ModelError("engine \"" + engine + "\": a tensor is " + std::string(py::str(array.dtype())) +
                     ", expected float32 or float16");
  }
  if (array.ndim() < 3 || array.ndim() > 4 || !(array.flags() & py::array::c_style)) {
    throw ModelError("engine \"" + engine + "\": a tensor has shape " + std::string(py::str(array.attr("shape"))) +
                     ", expected 3 or 4 dimensions");
  }
  std::ptrdiff_t cells = 1;
  for (py::ssize_t d = 2; d < array.ndim(); ++d) cells *= array.shape(d);
  return {const_cast<void*>(array.data()), shape_of(array), cells, size == 4 ? Type::f32 : Type::f16};
}

/// Turns what Python raised into the library's exceptions, so that C++ callers see one kind.
[[noreturn]] void rethrow(const std::string& engine, const py::error_already_set& error) {
  if (error.matches(PyExc_KeyboardInterrupt) || error.matches(PyExc_MemoryError)) throw error;
  const auto module = py::module_::import("yolort._core");
  const auto text = [&] { return std::string(py::str(error.value())); };
  if (error.matches(module.attr("ModelError"))) throw ModelError(text());
  if (error.matches(module.attr("EngineError"))) throw EngineError(text());
  if (error.matches(PyExc_ValueError)) throw std::invalid_argument(text());
  throw EngineError("engine \"" + engine + "\": " + text());
}

template <class Call>
auto in_python(const std::string& engine, Call call) {
  py::gil_scoped_acquire gil;
  try {
    return call();
  } catch (const py::error_already_set& error) {
    rethrow(engine, error);
  }
}

/// The GIL is held only while Python runs; the buffers are the engine's own arrays.
class PythonEngine final : public Engine {
 public:
  PythonEngine(std::string name, py::object impl) : name_(std::move(name)), impl_(std::move(impl)) {
    const auto shape = impl_.attr("input_shape").cast<std::tuple<int, int, int>>();
    shape_ = {std::get<0>(shape), std::get<1>(shape), std::get<2>(shape)};
    device_ = impl_.attr("device").cast<std::string>();
    precision_ = impl_.attr("precision").cast<std::string>();
    run_ = impl_.attr("run");
  }
  ~PythonEngine() override {
    py::gil_scoped_acquire gil;
    held_.clear();
    input_ = py::object();
    run_ = py::object();
    impl_ = py::object();
  }

  InputShape input_shape() const override { return shape_; }

  Tensor input(int batch, int height, int width) override {
    if (lent_.data && lent_.shape[0] == batch && lent_.shape[2] == height && lent_.shape[3] == width) return lent_;
    lent_ = in_python(name_, [&] {
      const auto array = impl_.attr("input")(batch, height, width).cast<py::array>();
      input_ = array;
      Tensor tensor = as_tensor(array, name_);
      if (tensor.shape != std::vector<int>{batch, 3, height, width}) {
        throw ModelError("engine \"" + name_ + "\": the model's input does not take (" + std::to_string(batch) +
                         ", 3, " + std::to_string(height) + ", " + std::to_string(width) + ")");
      }
      return tensor;
    });
    return lent_;
  }

  const std::vector<Tensor>& run() override {
    in_python(name_, [&] {
      const py::object outputs = run_();
      tensors_.clear();
      held_.clear();
      for (const py::handle output : outputs) {
        held_.push_back(py::array::ensure(output, py::array::c_style));
        if (!held_.back()) throw py::error_already_set();
        tensors_.push_back(as_tensor(held_.back(), name_));
      }
    });
    return tensors_;
  }

  std::vector<LayerTime> layer_times() override {
    return in_python(name_, [&] {
      std::vector<LayerTime> out;
      for (const py::handle one : impl_.attr("layer_times")()) {
        const auto [name, type, ms] = one.cast<std::tuple<std::string, std::string, double>>();
        out.push_back({name, type, ms});
      }
      return out;
    });
  }
  std::unique_ptr<Engine> clone() const override {
    return in_python(name_, [&] { return std::make_unique<PythonEngine>(name_, impl_.attr("clone")()); });
  }
  std::string device() const override { return device_; }
  std::string precision() const override { return precision_; }

 private:
  std::string name_;
  py::object impl_, run_;
  InputShape shape_;
  std::string device_, precision_;
  py::object input_;  // an empty py::array would itself be an object to release
  Tensor lent_;
  std::vector<py::array> held_;
  std::vector<Tensor> tensors_;
};

/// See TensorrtBuild; `progress(phase, step, steps)` gives False to end the build. (plan, timing cache, version)
std::tuple<py::bytes, py::bytes, std::string> build_engine(
    const std::string& onnx, const std::string& onnx_fp16, bool int8, const std::string& device,
    const py::bytes& calibration, std::size_t workspace_mib, const py::bytes& timing_cache, bool version_compatible,
    bool hardware_compatible, int level, const std::array<std::array<int, 3>, 3>& sizes,
    const std::function<bool(const std::string&, int, int)>& progress) {
#ifdef YOLORT_TENSORRT
  TensorrtBuild build;
  build.onnx = onnx;
  build.onnx_fp16 = onnx_fp16;
  build.fp16 = !onnx_fp16.empty();
  build.int8 = int8;
  build.device = device;
  build.calibration = calibration;
  build.workspace_mib = workspace_mib;
  build.timing_cache = timing_cache;
  build.version_compatible = version_compatible;
  build.hardware_compatible = hardware_compatible;
  build.level = level;
  build.sizes = sizes;
  // It runs in a thread of its own, so that this one can see Ctrl-C, which ends it.
  std::atomic<bool> ended = false;
  build.progress = [&](const std::string& phase, int step, int steps) {
    if (!ended && progress) {
      py::gil_scoped_acquire gil;
      return progress(phase, step, steps);
    }
    return !ended;
  };
  std::future<TensorrtPlan> running = std::async(std::launch::async, [&] { return build_tensorrt(build); });
  const auto wait = [&](std::chrono::milliseconds time) {
    py::gil_scoped_release release;
    return running.wait_for(time) == std::future_status::ready;
  };
  while (!wait(std::chrono::milliseconds(100))) {
    if (PyErr_CheckSignals() == 0) continue;
    ended = true;
    py::error_already_set error;
    py::gil_scoped_release release;
    running.wait();
    throw error;
  }
  const TensorrtPlan plan = running.get();
  return {py::bytes(plan.bytes), py::bytes(plan.timing_cache), plan.version};
#else
  (void)onnx, (void)onnx_fp16, (void)int8, (void)device, (void)calibration, (void)workspace_mib, (void)timing_cache;
  (void)version_compatible, (void)hardware_compatible, (void)level, (void)sizes, (void)progress;
  for (const EngineStatus& status : engines()) {
    if (status.name == "tensorrt") throw EngineError(status.reason);
  }
  throw EngineError("this build knows no TensorRT");
#endif
}

/// `unavailable()` gives the reason or "", `load(path, device, precision, threads)` the engine.
void register_python_engine(const std::string& name, int priority, const std::vector<std::string>& formats,
                            py::object unavailable, py::object load, py::object devices, py::object precisions) {
  // Entries outlive the interpreter (static registry): their Python parts are never released.
  const py::handle why = unavailable.release(), make = load.release();
  const py::handle where = devices.release(), pay = precisions.release();
  EngineEntry entry;
  entry.name = name;
  entry.priority = priority;
  entry.unavailable = [name, why] { return in_python(name, [&] { return why().cast<std::string>(); }); };
  entry.accepts = [formats](const ModelSpec& spec) {
    return std::find(formats.begin(), formats.end(), to_text(spec.format)) != formats.end();
  };
  entry.load = [name, make](const ModelSpec& spec, const Options& options) -> std::unique_ptr<Engine> {
    return in_python(name, [&] {
      return std::make_unique<PythonEngine>(name, make(py::str(py::cast(spec.graph)), options.device, options.precision,
                                                       options.threads, options.profile));
    });
  };
  entry.devices = [name, where] { return in_python(name, [&] { return where().cast<std::vector<std::string>>(); }); };
  entry.precisions = [name, pay] { return in_python(name, [&] { return pay().cast<std::vector<std::string>>(); }); };
  register_engine(std::move(entry));
}

}  // namespace

PYBIND11_MODULE(_core, m) {
  m.doc() = "The C++ core of yolort.";
  m.attr("__version__") = yolort_version();

  static py::exception<Error> base(m, "Error", PyExc_RuntimeError);
  static py::exception<ModelError> model_error(m, "ModelError", base.ptr());
  static py::exception<EngineError> engine_error(m, "EngineError", base.ptr());
  py::register_exception_translator([](std::exception_ptr pointer) {
    const auto raise = [](PyObject* type, const std::exception& error) {
      PyErr_SetObject(type, to_str(error.what()).ptr());
    };
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const FileNotFound& error) {
      raise(PyExc_FileNotFoundError, error);
    } catch (const ModelError& error) {
      raise(model_error.ptr(), error);
    } catch (const EngineError& error) {
      raise(engine_error.ptr(), error);
    } catch (const Error& error) {
      raise(base.ptr(), error);
    }
  });

  m.def("max_threads", &max_threads);
  m.def("canonical_device", &canonical_device, py::arg("given"));
  m.def("device_index", &device_index, py::arg("device"), py::arg("kind"));

  py::class_<Thresholds>(m, "Thresholds")
      .def(py::init([](float conf, float iou, int max_det, std::vector<int> classes, bool agnostic, bool multi_label) {
             return Thresholds{conf, iou, max_det, std::move(classes), agnostic, multi_label};
           }),
           py::kw_only(), py::arg("conf"), py::arg("iou"), py::arg("max_det"), py::arg("classes"), py::arg("agnostic"),
           py::arg("multi_label"))
      .def_readonly("conf", &Thresholds::conf)
      .def_readonly("iou", &Thresholds::iou)
      .def_readonly("max_det", &Thresholds::max_det)
      .def_readonly("classes", &Thresholds::classes)
      .def_readonly("agnostic", &Thresholds::agnostic)
      .def_readonly("multi_label", &Thresholds::multi_label);

  py::class_<Detector>(m, "Detector")
      .def(py::init([](const fs::path& model, const Thresholds& thresholds, std::string engine, std::string device,
                       std::string precision, std::optional<int> threads, std::vector<std::string> names,
                       std::optional<std::array<int, 2>> imgsz, bool tuned, bool profile, bool augment,
                       std::vector<int> scales, bool flip, const std::string& merge,
                       const std::vector<fs::path>& scale_models) {
             Options options;
             static_cast<Thresholds&>(options) = thresholds;
             options.engine = std::move(engine);
             options.device = std::move(device);
             options.precision = std::move(precision);
             options.threads = threads;
             options.names = std::move(names);
             options.imgsz = imgsz;
             options.tuned = tuned;
             options.profile = profile;
             options.augment = augment;
             options.scales = std::move(scales);
             options.flip = flip;
             options.merge = parse_merge(merge);
             for (const fs::path& path : scale_models) options.scale_models.push_back(path.string());
             options.between_runs = [] {  // Ctrl-C, which only the main thread sees
               const py::gil_scoped_acquire gil;
               if (PyErr_CheckSignals() != 0) throw py::error_already_set();
             };
             py::gil_scoped_release release;
             return std::make_unique<Detector>(model.string(), options);
           }),
           py::arg("model"), py::arg("thresholds"), py::kw_only(), py::arg("engine"), py::arg("device"),
           py::arg("precision"), py::arg("threads"), py::arg("names"), py::arg("imgsz"), py::arg("tuned"),
           py::arg("profile"), py::arg("augment"), py::arg("scales"), py::arg("flip"), py::arg("merge"),
           py::arg("scale_models"))
      .def(
          "detect",
          [](Detector& self, const py::sequence& images, const Thresholds& thresholds,
             const std::vector<std::optional<std::string>>& formats, std::optional<bool> augment) {
            if (formats.size() != images.size()) throw std::invalid_argument("formats: expected one for each image");
            std::vector<HeldImage> held;
            std::vector<Image> views;
            for (std::size_t i = 0; i < formats.size(); ++i) {
              std::optional<PixelFormat> asked;
              if (formats[i]) asked = parse_format(*formats[i]);
              held.push_back(hold_image(images[i], asked));
              views.push_back(held.back().image);
            }
            std::vector<Detections> found;
            {
              py::gil_scoped_release release;
              found = self.detect(views, thresholds, augment.value_or(!self.views().empty()));
            }
            py::list out;
            for (const Detections& one : found) out.append(to_tuple(one));
            return out;
          },
          py::arg("images"), py::arg("thresholds"), py::arg("formats"), py::arg("augment") = py::none())
      .def(
          "infer",
          [](Detector& self, const py::array_t<float, py::array::c_style>& input) {
            const auto [height, width] = self.imgsz();
            if (input.ndim() != 4 || input.shape(1) != 3 || input.shape(2) != height || input.shape(3) != width) {
              throw std::invalid_argument("input: expected shape (batch, 3, " + std::to_string(height) + ", " +
                                          std::to_string(width) + "), got " +
                                          std::string(py::str(input.attr("shape"))));
            }
            std::vector<Array> outputs;
            {
              py::gil_scoped_release release;
              outputs = self.infer(input.data(), static_cast<int>(input.shape(0)));
            }
            py::list out;
            for (const Array& output : outputs) {
              out.append(to_array<float>(output.values, {output.shape.begin(), output.shape.end()}));
            }
            return out;
          },
          py::arg("input").noconvert())
      .def("layer_times",
           [](Detector& self) {
             std::vector<LayerTime> times;
             {
               py::gil_scoped_release release;
               times = self.layer_times();
             }
             py::list out;
             for (const LayerTime& one : times) out.append(py::make_tuple(to_str(one.name), to_str(one.type), one.ms));
             return out;
           })
      .def("clone",
           [](const Detector& self) {
             py::gil_scoped_release release;
             return self.clone();
           })
      .def_property_readonly("names",
                             [](const Detector& self) {
                               py::list out;
                               for (const std::string& name : self.names()) out.append(to_str(name));
                               return out;
                             })
      .def_property_readonly("imgsz", [](const Detector& self) { return std::pair(self.imgsz()[0], self.imgsz()[1]); })
      .def_property_readonly("batch", &Detector::batch)
      .def_property_readonly("thresholds", &Detector::thresholds)
      .def("check", &Detector::check, py::arg("thresholds"))
      .def_property_readonly("engine", &Detector::engine)
      .def_property_readonly("device", &Detector::device)
      .def_property_readonly("precision", &Detector::precision)
      .def_property_readonly("tuned", &Detector::tuned)
      .def_property_readonly("head", &Detector::head)
      .def_property_readonly("metadata",
                             [](const Detector& self) {
                               py::dict out;
                               for (const auto& [key, value] : self.metadata()) out[to_str(key)] = to_str(value);
                               return out;
                             })
      .def_property_readonly(
          "views",
          [](const Detector& self) {
            py::list out;
            for (const View& view : self.views()) {
              const auto [height, width] = view.imgsz;
              out.append(py::make_tuple(view.scale, view.flip, std::pair(height, width), to_str(view.model)));
            }
            return out;
          })
      .def_property_readonly("speed", [](const Detector& self) {
        py::gil_scoped_release release;
        const Speed speed = self.speed();
        return std::tuple(speed.pre, speed.inference, speed.post);
      });

  m.def("engines", [] {
    std::vector<std::tuple<std::string, bool, std::string>> out;
    py::gil_scoped_release release;
    for (const EngineStatus& status : engines()) out.emplace_back(status.name, status.available, status.reason);
    return out;
  });
  m.def("register_engine", &register_python_engine, py::arg("name"), py::arg("priority"), py::arg("formats"),
        py::arg("unavailable"), py::arg("load"), py::arg("devices"), py::arg("precisions"));
  m.def(
      "devices",
      [](const std::string& engine) {
        std::vector<std::string> found;
        {
          py::gil_scoped_release release;
          found = devices(engine);
        }
        py::list out;
        for (const std::string& device : found) out.append(to_str(device));
        return out;
      },
      py::arg("engine"));
  m.def("build_engine", &build_engine, py::arg("onnx"), py::kw_only(), py::arg("onnx_fp16") = "",
        py::arg("int8") = false, py::arg("device") = "", py::arg("calibration") = py::bytes(),
        py::arg("workspace_mib") = 0, py::arg("timing_cache") = py::bytes(), py::arg("version_compatible") = false,
        py::arg("hardware_compatible") = false, py::arg("level") = -1, py::arg("sizes"), py::arg("progress") = nullptr);
  m.def("add_library_folder", [](const std::string& folder) { add_library_folder(folder); }, py::arg("folder"));
  m.def(
      "candidates",
      [](const fs::path& model) {
        std::vector<std::tuple<std::string, std::string, std::vector<std::string>>> out;
        py::gil_scoped_release release;
        const ModelSpec spec = read_model(model.string());
        for (const EngineEntry& entry : all_engines()) {
          if (!entry.accepts(spec)) continue;
          const std::string reason = entry.unavailable();
          out.emplace_back(entry.name, reason, reason.empty() ? entry.precisions() : std::vector<std::string>());
        }
        return out;
      },
      py::arg("model"));
  m.def("machine", &machine);
  m.def("tuning_paths", [](const fs::path& model) { return tuning_paths(model.string()); }, py::arg("model"));
  m.def("model_bytes", [](const fs::path& model) { return model_bytes(read_model(model.string())); }, py::arg("model"));
  m.def(
      "letterbox",
      [](const py::handle& object, py::array_t<float, py::array::c_style> out, std::optional<std::string> format) {
        if (out.ndim() != 4 || out.shape(0) != 1 || out.shape(1) != 3 || out.shape(2) < 1 || out.shape(3) < 1 ||
            out.shape(2) > 16384 || out.shape(3) > 16384) {
          throw std::invalid_argument("out: expected shape (1, 3, height, width), got " +
                                      std::string(py::str(out.attr("shape"))));
        }
        std::optional<PixelFormat> asked;
        if (format) asked = parse_format(*format);
        const HeldImage held = hold_image(object, asked);
        if (held.image.memory != Memory::host) throw py::type_error("image: its pixels are in CUDA memory");
        const auto height = static_cast<int>(out.shape(2)), width = static_cast<int>(out.shape(3));
        const Tensor tensor{
            out.mutable_data(), {1, 3, height, width}, static_cast<std::ptrdiff_t>(height) * width, Type::f32};
        py::gil_scoped_release release;
        Letterbox()(held.image, Geometry::fit(held.image.width, held.image.height, width, height), tensor, 0, false);
      },
      py::arg("image"), py::arg("out").noconvert(), py::arg("format") = py::none());
  m.def("simd", [] { return kernels().name; });
}

}  // namespace yolort
