// Results of the core as Python objects.
#include <pybind11/stl.h>

#include <algorithm>
#include <utility>

#include "bindings.h"

namespace yolort::bindings {
namespace {

/// The masks of the detections of an image.
struct Masks {
  std::vector<Mask> masks;
  int width, height;  ///< of the image

  const Mask& at(py::ssize_t index) const { return masks.at(static_cast<std::size_t>(index)); }
};

/// Writes a mask to a zeroed image with `step` pixels per row.
void unpack(const Mask& mask, bool* to, std::size_t step) {
  for (int y = 0; y < mask.height; ++y) {
    const std::uint8_t* bits = mask.bits.get() + static_cast<std::size_t>(y) * mask.row_bytes();
    bool* row = to + static_cast<std::size_t>(y) * step;
    for (int x = 0; x < mask.width; ++x) row[x] = bits[x / 8] >> x % 8 & 1;
  }
}

py::array_t<bool> to_dense(const Masks& self) {
  const auto width = static_cast<std::size_t>(self.width), plane = width * static_cast<std::size_t>(self.height);
  py::array_t<bool> out({static_cast<py::ssize_t>(self.masks.size()), static_cast<py::ssize_t>(self.height),
                         static_cast<py::ssize_t>(self.width)});
  bool* to = out.mutable_data();
  const py::gil_scoped_release release;
  std::fill_n(to, plane * self.masks.size(), false);
  for (const Mask& mask : self.masks) {
    unpack(mask, to + static_cast<std::size_t>(mask.y) * width + mask.x, width);
    to += plane;
  }
  return out;
}

/// A mask's rectangle: left, top and its pixels (height, width).
py::tuple crop(const Masks& self, py::ssize_t index) {
  const Mask& mask = self.at(index);
  py::array_t<bool> out({static_cast<py::ssize_t>(mask.height), static_cast<py::ssize_t>(mask.width)});
  unpack(mask, out.mutable_data(), static_cast<std::size_t>(mask.width));
  return py::make_tuple(mask.x, mask.y, out);
}

Masks select(const Masks& self, const std::vector<py::ssize_t>& indices) {
  Masks out{{}, self.width, self.height};
  for (const py::ssize_t index : indices) out.masks.push_back(self.at(index));
  return out;
}

/// Moves the masks into a larger image, in which their image is the region at `left`, `top`.
Masks in_image(Masks self, int left, int top, int height, int width) {
  if (left < 0 || top < 0 || left > width - self.width || top > height - self.height) {
    throw std::invalid_argument("the region is not within the image");
  }
  for (Mask& mask : self.masks) {
    mask.x += left;
    mask.y += top;
  }
  return {std::move(self.masks), width, height};
}

/// Size of the bits in bytes.
std::size_t nbytes(const Masks& self) {
  std::size_t out = 0;
  for (const Mask& mask : self.masks) out += mask.row_bytes() * static_cast<std::size_t>(mask.height);
  return out;
}

std::vector<std::string> rle(const Masks& self) {
  const py::gil_scoped_release release;
  std::vector<std::string> out;
  for (const Mask& mask : self.masks) out.push_back(mask.rle(self.width, self.height));
  return out;
}

py::array_t<std::int64_t> area(const Masks& self) {
  std::vector<std::int64_t> out;
  for (const Mask& mask : self.masks) out.push_back(static_cast<std::int64_t>(mask.area()));
  return to_array<std::int64_t>(out, {static_cast<py::ssize_t>(out.size())});
}

}  // namespace

py::str to_str(const std::string& text) {
  return py::reinterpret_steal<py::str>(
      PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace"));
}

py::list to_list(const std::vector<std::string>& texts) {
  py::list out;
  for (const std::string& text : texts) out.append(to_str(text));
  return out;
}

py::tuple to_tuple(Detections found, const Image& image, Task task) {
  static_assert(sizeof(Box) == 4 * sizeof(float) && sizeof(int) == sizeof(std::int32_t));
  static_assert(sizeof(RotatedBox) == 5 * sizeof(float));
  const auto n = static_cast<py::ssize_t>(found.size());
  py::object masks = py::none(), keypoints = py::none(), rotated = py::none();
  if (task == Task::segment) masks = py::cast(Masks{std::move(found.masks), image.width, image.height});
  if (task == Task::pose) keypoints = to_array<float>(found.keypoints, {n, found.kpt_shape[0], found.kpt_shape[1]});
  if (task == Task::obb) rotated = to_array<float>(found.rotated, {n, 5});
  return py::make_tuple(to_array<float>(found.boxes, {n, 4}), to_array<float>(found.scores, {n}),
                        to_array<std::int32_t>(found.classes, {n}), masks, keypoints, rotated);
}

void register_results(py::module_& m) {
  py::class_<Masks>(m, "Masks")
      .def("__len__", [](const Masks& self) { return self.masks.size(); })
      .def_property_readonly("nbytes", &nbytes)
      .def_property_readonly("shape", [](const Masks& self) { return std::pair(self.height, self.width); })
      .def("select", &select, py::arg("indices"))
      .def("in_image", &in_image, py::arg("left"), py::arg("top"), py::arg("height"), py::arg("width"))
      .def("to_dense", &to_dense)
      .def("crop", &crop, py::arg("index"))
      .def("rle", &rle)
      .def("area", &area);
  m.def(
      "corners",
      [](const py::array_t<float, py::array::c_style | py::array::forcecast>& boxes) {
        if (boxes.ndim() != 2 || boxes.shape(1) != 5) {
          throw std::invalid_argument("boxes: expected shape (n, 5), got " + std::string(py::str(boxes.attr("shape"))));
        }
        std::vector<std::array<float, 8>> out;
        for (py::ssize_t i = 0; i < boxes.shape(0); ++i) {
          const float* box = boxes.data(i);
          out.push_back(corners({box[0], box[1], box[2], box[3], box[4]}));
        }
        return to_array<float>(out, {boxes.shape(0), 4, 2});
      },
      py::arg("boxes"));
}

}  // namespace yolort::bindings
