// Results of the core as Python objects.
#include "bindings.h"

namespace yolort::bindings {

py::str to_str(const std::string& text) {
  return py::reinterpret_steal<py::str>(
      PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace"));
}

py::list to_list(const std::vector<std::string>& texts) {
  py::list out;
  for (const std::string& text : texts) out.append(to_str(text));
  return out;
}

py::tuple to_tuple(const Detections& found) {
  static_assert(sizeof(Box) == 4 * sizeof(float) && sizeof(int) == sizeof(std::int32_t));
  const auto n = static_cast<py::ssize_t>(found.size());
  return py::make_tuple(to_array<float>(found.boxes, {n, 4}), to_array<float>(found.scores, {n}),
                        to_array<std::int32_t>(found.classes, {n}));
}

}  // namespace yolort::bindings
