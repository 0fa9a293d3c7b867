// Images from Python: numpy arrays, DLPack and __cuda_array_interface__, without a copy if the pixels of a row are
// packed.
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <utility>

#include "bindings.h"
#include "ops/letterbox.h"

namespace yolort::bindings {
namespace {

/// Data, shape and strides of an array of pixels, in elements.
struct Pixels {
  const void* data;
  std::vector<py::ssize_t> shape, strides;
  bool packed = false;  ///< within a row

  /// The image. Its rows are valid only if `packed`. Throws std::invalid_argument.
  Image image(std::optional<PixelFormat> asked, int of_network) {
    const std::size_t dims = shape.size();
    const py::ssize_t channels = dims == 2 ? 1 : dims == 3 ? shape[2] : 0;
    const bool own = channels == of_network && of_network != 1 && of_network != 3;
    if (channels != 1 && channels != 3 && channels != 4 && !own) {
      const bool color = of_network == 1 || of_network == 3;
      throw std::invalid_argument("image: expected shape " +
                                  (color ? std::string("(height, width), (height, width, 3) or (height, width, 4)")
                                         : "(height, width, " + std::to_string(of_network) + "), as the model needs") +
                                  ", got " + std::string(py::str(py::tuple(py::cast(shape)))));
    }
    const py::ssize_t height = shape[0], width = shape[1];
    if (height < 1 || width < 1 || height > Image::max_side || width > Image::max_side) {
      throw std::invalid_argument("image: " + std::to_string(width) + " x " + std::to_string(height) +
                                  " pixels, expected 1 to " + std::to_string(Image::max_side) + " per side");
    }
    PixelFormat format = channels == 1 ? PixelFormat::gray : channels == 3 ? PixelFormat::bgr : PixelFormat::bgra;
    if (own) format = PixelFormat::channels;
    if (asked) {
      const bool four = *asked == PixelFormat::bgra || *asked == PixelFormat::rgba;
      const py::ssize_t needed = *asked == PixelFormat::gray ? 1 : four ? 4 : 3;
      if (needed != channels) {
        throw std::invalid_argument("image: the requested format has " + std::to_string(needed) +
                                    " channel(s), but the array has " + std::to_string(channels));
      }
      format = *asked;
    }
    packed = (channels == 1 || strides[2] == 1) && (width == 1 || strides[1] == channels) &&
             (height == 1 || std::abs(strides[0]) >= width * channels);
    Image out{static_cast<const std::uint8_t*>(data), static_cast<int>(width), static_cast<int>(height),
              height == 1 ? 0 : strides[0], format};
    out.channels = static_cast<int>(channels);
    return out;
  }
};

/// Accepts HxW, HxWx1, HxWx3, HxWx4 or HxWxchannels of uint8. Rows may have any stride; pixels that are not packed
/// within a row are copied.
HeldImage hold_array(py::array array, std::optional<PixelFormat> asked, int channels) {
  if (array.dtype().kind() != 'u' || array.itemsize() != 1) {
    throw py::type_error("image: expected uint8 pixels (0 to 255), got " + std::string(py::str(array.dtype())) +
                         (array.dtype().kind() == 'f' ? "; convert with (image * 255).astype(numpy.uint8)" : ""));
  }
  const auto pixels_of = [&] {
    return Pixels{
        array.data(), {array.shape(), array.shape() + array.ndim()}, {array.strides(), array.strides() + array.ndim()}};
  };
  Pixels pixels = pixels_of();
  Image image = pixels.image(asked, channels);
  if (!pixels.packed) {
    array = py::module_::import("numpy").attr("ascontiguousarray")(array);
    image = pixels_of().image(asked, channels);
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

/// Pixels in CUDA memory, according to DLPack or __cuda_array_interface__; nothing is copied.
HeldImage hold_cuda_array(const py::object& object, std::optional<PixelFormat> asked, int channels) {
  // For both protocols: the stream on which yolort will read the pixels. 1 is CUDA's default stream.
  std::uintptr_t stream = 1;
  Pixels pixels{};
  bool bytes = false;
  py::object owner = object;
  if (py::hasattr(object, "__dlpack__")) {
    owner = object.attr("__dlpack__")(py::arg("stream") = stream);  // the capsule owns the pixels
    const auto* tensor = static_cast<const DlTensor*>(PyCapsule_GetPointer(owner.ptr(), "dltensor"));
    if (!tensor) throw py::error_already_set();
    if (tensor->device_type != dl_cuda && tensor->device_type != dl_cuda_managed) {
      throw py::type_error("image: __dlpack__ returned memory of another device than __dlpack_device__");
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
  Image image = pixels.image(asked, channels);
  if (!pixels.packed) {
    throw std::invalid_argument(
        "image: its pixels in CUDA memory are not contiguous within a row (height x width x channels); permute the "
        "array and "
        "make it contiguous");
  }
  image.memory = Memory::cuda;
  image.stream = reinterpret_cast<void*>(stream);
  return {std::move(owner), image};
}

/// Writes the letterboxed image to `out`, a float32 array (1, channels, height, width).
void letterbox(const py::handle& object, py::array_t<float, py::array::c_style> out,
               const std::optional<std::string>& format) {
  if (out.ndim() != 4 || out.shape(0) != 1 || out.shape(1) < 1 || out.shape(1) > max_channels || out.shape(2) < 1 ||
      out.shape(3) < 1 || out.shape(2) > max_imgsz || out.shape(3) > max_imgsz) {
    throw std::invalid_argument("out: expected shape (1, channels, height, width), got " +
                                std::string(py::str(out.attr("shape"))));
  }
  const auto channels = static_cast<int>(out.shape(1));
  const HeldImage held = hold_image(object, parse_format(format), channels);
  check_channels(held.image, channels);
  if (held.image.memory != Memory::host) throw py::type_error("image: its pixels are in CUDA memory");
  const auto height = static_cast<int>(out.shape(2)), width = static_cast<int>(out.shape(3));
  const Tensor tensor{
      out.mutable_data(), {1, channels, height, width}, static_cast<std::ptrdiff_t>(height) * width, Type::f32};
  py::gil_scoped_release release;
  Letterbox()(held.image, Geometry::fit(held.image.width, held.image.height, width, height), tensor, 0, false);
}

}  // namespace

std::optional<PixelFormat> parse_format(const std::optional<std::string>& name) {
  if (!name) return std::nullopt;
  static const std::pair<const char*, PixelFormat> formats[] = {{"bgr", PixelFormat::bgr},
                                                                {"rgb", PixelFormat::rgb},
                                                                {"bgra", PixelFormat::bgra},
                                                                {"rgba", PixelFormat::rgba},
                                                                {"gray", PixelFormat::gray}};
  for (const auto& [known, format] : formats) {
    if (*name == known) return format;
  }
  throw std::invalid_argument("format is \"" + *name + "\", expected bgr, rgb, bgra, rgba or gray");
}

HeldImage hold_image(const py::handle& handle, std::optional<PixelFormat> asked, int channels) {
  const auto object = py::reinterpret_borrow<py::object>(handle);
  if (py::isinstance<py::array>(object)) return hold_array(object, asked, channels);
  if (py::hasattr(object, "__dlpack_device__")) {
    const auto device = object.attr("__dlpack_device__")().cast<std::pair<std::int32_t, std::int32_t>>().first;
    if (device == dl_cuda || device == dl_cuda_managed) return hold_cuda_array(object, asked, channels);
    return hold_array(py::module_::import("numpy").attr("from_dlpack")(object), asked, channels);
  }
  if (py::hasattr(object, "__cuda_array_interface__")) return hold_cuda_array(object, asked, channels);
  throw py::type_error("image: expected an array of uint8, got " +
                       std::string(py::str(py::type::of(object).attr("__name__"))));
}

HeldImages hold_images(const py::sequence& images, const std::vector<std::optional<std::string>>& formats,
                       int channels) {
  if (formats.size() != images.size()) throw std::invalid_argument("formats: expected one for each image");
  HeldImages out;
  for (std::size_t i = 0; i < formats.size(); ++i) {
    out.held.push_back(hold_image(images[i], parse_format(formats[i]), channels));
    out.views.push_back(out.held.back().image);
  }
  return out;
}

void register_images(py::module_& m) {
  m.def("letterbox", &letterbox, py::arg("image"), py::arg("out").noconvert(), py::arg("format") = py::none());
}

}  // namespace yolort::bindings
