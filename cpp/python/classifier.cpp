// Classifier.
#include <array>
#include <map>
#include <memory>
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
  return open_model<Classifier>(model, format, options);
}

/// The scores of each image: (classes,) float32.
py::list classify(Classifier& self, const py::sequence& images,
                  const std::vector<std::optional<std::string>>& formats) {
  const HeldImages held = hold_images(images, formats, self.channels());
  std::vector<Classification> found;
  {
    const py::gil_scoped_release release;
    found = self.classify(held.views);
  }
  py::list out;
  for (const Classification& scores : found) {
    out.append(to_array<float>(scores.probs, {static_cast<py::ssize_t>(scores.probs.size())}));
  }
  return out;
}

}  // namespace

void register_classifier(py::module_& m) {
  py::class_<Classifier> classifier(m, "Classifier");
  classifier
      .def(py::init(&make_classifier), py::arg("model"), py::kw_only(), py::arg("format"), py::arg("engine"),
           py::arg("device"), py::arg("precision"), py::arg("threads"), py::arg("names"), py::arg("imgsz"),
           py::arg("tuned"), py::arg("engine_options"), py::arg("channels"), py::arg("resize"), py::arg("mean"),
           py::arg("std"))
      .def("classify", &classify, py::arg("images"), py::arg("formats"));
  register_model(classifier);
}

}  // namespace yolort::bindings
