// Classifier.
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <array>
#include <filesystem>
#include <map>
#include <memory>
#include <tuple>
#include <utility>

#include "bindings.h"

namespace yolort::bindings {
namespace {

/// `model`: a path or, with a format, a buffer of bytes.
std::unique_ptr<Classifier> make_classifier(const py::object& model, const std::string& format, std::string engine,
                                            std::string device, std::string precision, std::optional<int> threads,
                                            std::vector<std::string> names, std::optional<std::array<int, 2>> imgsz,
                                            bool tuned, std::map<std::string, std::string> engine_options,
                                            std::string channels, std::string resize, std::vector<float> mean,
                                            std::vector<float> stddev) {
  Options options;
  options.engine = std::move(engine);
  options.device = std::move(device);
  options.precision = std::move(precision);
  options.threads = threads;
  options.names = std::move(names);
  options.imgsz = imgsz;
  options.tuned = tuned;
  options.engine_options = std::move(engine_options);
  options.channels = std::move(channels);
  options.resize = std::move(resize);
  options.mean = std::move(mean);
  options.stddev = std::move(stddev);
  options.between_runs = check_signals;
  if (format.empty()) {
    const auto path = model.cast<std::filesystem::path>();
    const py::gil_scoped_release release;
    return std::make_unique<Classifier>(path.string(), options);
  }
  const py::buffer_info bytes = model.cast<py::buffer>().request();
  const py::gil_scoped_release release;
  return std::make_unique<Classifier>(ModelBytes{bytes.ptr, static_cast<std::size_t>(bytes.size), format}, options);
}

/// The scores of each image: (classes,) float32.
py::list classify(Classifier& self, const py::sequence& images,
                  const std::vector<std::optional<std::string>>& formats) {
  if (formats.size() != images.size()) throw std::invalid_argument("formats: expected one for each image");
  std::vector<HeldImage> held;
  std::vector<Image> views;
  for (std::size_t i = 0; i < formats.size(); ++i) {
    held.push_back(hold_image(images[i], parse_format(formats[i]), self.channels()));
    views.push_back(held.back().image);
  }
  std::vector<Classification> found;
  {
    const py::gil_scoped_release release;
    found = self.classify(views);
  }
  py::list out;
  for (const Classification& scores : found) {
    out.append(to_array<float>(scores.probs, {static_cast<py::ssize_t>(scores.probs.size())}));
  }
  return out;
}

py::dict metadata(const Classifier& self) {
  py::dict out;
  for (const auto& [key, value] : self.metadata()) out[to_str(key)] = to_str(value);
  return out;
}

std::tuple<double, double, double> speed(const Classifier& self) {
  const py::gil_scoped_release release;
  const Speed speed = self.speed();
  return {speed.pre, speed.inference, speed.post};
}

}  // namespace

void register_classifier(py::module_& m) {
  py::class_<Classifier>(m, "Classifier")
      .def(py::init(&make_classifier), py::arg("model"), py::kw_only(), py::arg("format"), py::arg("engine"),
           py::arg("device"), py::arg("precision"), py::arg("threads"), py::arg("names"), py::arg("imgsz"),
           py::arg("tuned"), py::arg("engine_options"), py::arg("channels"), py::arg("resize"), py::arg("mean"),
           py::arg("std"))
      .def("classify", &classify, py::arg("images"), py::arg("formats"))
      .def("clone",
           [](const Classifier& self) {
             const py::gil_scoped_release release;
             return self.clone();
           })
      .def("explain",
           [](const Classifier& self) {
             const py::gil_scoped_release release;
             return self.explain();
           })
      .def_property_readonly("names", [](const Classifier& self) { return to_list(self.names()); })
      .def_property_readonly("imgsz",
                             [](const Classifier& self) { return std::pair(self.imgsz()[0], self.imgsz()[1]); })
      .def_property_readonly("channels", &Classifier::channels)
      .def_property_readonly("batch", &Classifier::batch)
      .def_property_readonly("engine", &Classifier::engine)
      .def_property_readonly("device", &Classifier::device)
      .def_property_readonly("precision", &Classifier::precision)
      .def_property_readonly("tuned", &Classifier::tuned)
      .def_property_readonly("metadata", &metadata)
      .def_property_readonly("speed", &speed);
}

}  // namespace yolort::bindings
