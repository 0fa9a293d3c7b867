// Declarations shared by the files of yolort._core, which only convert, release the GIL, call the core and wrap the
// result.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "yolort/yolort.h"

namespace yolort::bindings {

namespace py = pybind11;

void register_errors(py::module_& m);
void register_classifier(py::module_& m);
void register_detector(py::module_& m);
void register_results(py::module_& m);
void register_images(py::module_& m);
void register_engines(py::module_& m);
void register_tensorrt_build(py::module_& m);
void register_toolchain(py::module_& m);

// ---- detector.cpp ----

/// Throws KeyboardInterrupt after Ctrl-C, in the main thread only. For Options::between_runs.
void check_signals();

// ---- images.cpp ----

/// Pixels, and the object that keeps them alive.
struct HeldImage {
  py::object owner;
  Image image;
};

/// None gives an empty value. Throws std::invalid_argument for an unknown name.
std::optional<PixelFormat> parse_format(const std::optional<std::string>& name);

/// Borrows the pixels of a numpy array or of an object with DLPack or __cuda_array_interface__: HxW, HxWx1, HxWx3,
/// HxWx4 or, for a network with that many channels, HxWx`channels`; all uint8. Throws TypeError, std::invalid_argument.
HeldImage hold_image(const py::handle& object, std::optional<PixelFormat> format, int channels);

/// Images for the core, with the objects that keep their pixels alive.
struct HeldImages {
  std::vector<HeldImage> held;
  std::vector<Image> views;
};

/// `hold_image` for each image, with the format of the same index. Throws the same exceptions, and
/// std::invalid_argument.
HeldImages hold_images(const py::sequence& images, const std::vector<std::optional<std::string>>& formats,
                       int channels);

// ---- results.cpp ----

/// Converts names and messages, which come from files, without raising on invalid UTF-8.
py::str to_str(const std::string& text);
py::list to_list(const std::vector<std::string>& texts);

/// The columns: boxes (n, 4) and scores (n) as float32, classes (n) as int32; then Masks, keypoints (n, K, 2 or 3) and
/// rotated boxes (n, 5) as float32, or None if the task has none.
py::tuple to_tuple(Detections detections, const Image& image, Task task);

/// Copies the numbers of a vector to a new array.
template <class T, class Source>
py::array_t<T> to_array(const std::vector<Source>& values, std::vector<py::ssize_t> shape) {
  py::array_t<T> out(std::move(shape));
  if (!values.empty()) std::memcpy(out.mutable_data(), values.data(), values.size() * sizeof(Source));
  return out;
}

// ---- shared by Detector and Classifier ----

/// Opens `model`: a path or, with a format, a buffer of bytes.
template <class Model>
std::unique_ptr<Model> open_model(const py::object& model, const std::string& format, const Options& options) {
  if (format.empty()) {
    const auto path = model.cast<std::filesystem::path>();
    const py::gil_scoped_release release;
    return std::make_unique<Model>(path.string(), options);
  }
  const py::buffer_info bytes = model.cast<py::buffer>().request();
  const py::gil_scoped_release release;
  return std::make_unique<Model>(ModelBytes{bytes.ptr, static_cast<std::size_t>(bytes.size), format}, options);
}

template <class Model>
void register_model(py::class_<Model>& to) {
  using Released = py::call_guard<py::gil_scoped_release>;
  to.def("clone", &Model::clone, Released())
      .def("explain", &Model::explain, Released())
      .def_property_readonly("names", [](const Model& self) { return to_list(self.names()); })
      .def_property_readonly("imgsz", [](const Model& self) { return std::pair(self.imgsz()[0], self.imgsz()[1]); })
      .def_property_readonly("channels", &Model::channels)
      .def_property_readonly("batch", &Model::batch)
      .def_property_readonly("engine", &Model::engine)
      .def_property_readonly("device", &Model::device)
      .def_property_readonly("precision", &Model::precision)
      .def_property_readonly("tuned", &Model::tuned)
      .def_property_readonly("metadata",
                             [](const Model& self) {
                               py::dict out;
                               for (const auto& [key, value] : self.metadata()) out[to_str(key)] = to_str(value);
                               return out;
                             })
      .def_property_readonly("speed", [](const Model& self) {  // milliseconds before, in and after the network
        const py::gil_scoped_release release;
        const Speed speed = self.speed();
        return std::tuple(speed.pre, speed.inference, speed.post);
      });
}

}  // namespace yolort::bindings
