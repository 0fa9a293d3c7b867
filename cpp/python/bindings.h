// What the files of yolort._core share. They convert, release the GIL, call the core and wrap the result; nothing else.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstring>
#include <optional>
#include <string>
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

/// Throws what Ctrl-C throws in Python; only the main thread sees it. For Options::between_runs.
void check_signals();

// ---- images.cpp ----

/// Pixels and what keeps them alive.
struct HeldImage {
  py::object owner;
  Image image;
};

/// None for no name. Throws std::invalid_argument for an unknown name.
std::optional<PixelFormat> parse_format(const std::optional<std::string>& name);

/// Borrows the pixels of a numpy array or of an object with DLPack or __cuda_array_interface__: HxW, HxWx1, HxWx3,
/// HxWx4 or, for a network of so many `channels`, HxWxchannels of uint8. Throws TypeError, std::invalid_argument.
HeldImage hold_image(const py::handle& object, std::optional<PixelFormat> format, int channels);

// ---- results.cpp ----

/// Names and messages come from files: bytes that are not UTF-8 must not raise.
py::str to_str(const std::string& text);
py::list to_list(const std::vector<std::string>& texts);

/// The columns: boxes (n, 4) and scores (n) of float32, classes (n) of int32; and as the task has them or None, Masks,
/// keypoints (n, K, 2 or 3) and turned boxes (n, 5) of float32.
py::tuple to_tuple(Detections detections, const Image& image, Task task);

/// The numbers of a vector in an array of its own.
template <class T, class Source>
py::array_t<T> to_array(const std::vector<Source>& values, std::vector<py::ssize_t> shape) {
  py::array_t<T> out(std::move(shape));
  if (!values.empty()) std::memcpy(out.mutable_data(), values.data(), values.size() * sizeof(Source));
  return out;
}

}  // namespace yolort::bindings
