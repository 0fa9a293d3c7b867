// Detector and its thresholds.
#include <array>
#include <filesystem>
#include <map>
#include <memory>
#include <utility>

#include "bindings.h"
#include "model/model.h"

namespace yolort::bindings {
namespace {

namespace fs = std::filesystem;

Merge parse_merge(const std::string& name) {
  if (name == "wbf") return Merge::wbf;
  if (name == "nms") return Merge::nms;
  throw std::invalid_argument("merge is \"" + name + "\", expected wbf or nms");
}

/// `model`: a path or, with a format, a buffer of bytes.
std::unique_ptr<Detector> make_detector(
    const py::object& model, const Thresholds& thresholds, const std::string& format, std::string engine,
    std::string device, std::string precision, std::optional<int> threads, std::vector<std::string> names,
    std::optional<std::array<int, 2>> imgsz, std::optional<bool> rect, bool tuned, bool profile, bool augment,
    std::vector<int> scales, bool flip, const std::string& merge, const std::vector<fs::path>& scale_models,
    std::map<std::string, std::string> engine_options, std::vector<int> flip_idx, Skeleton skeleton,
    std::string channels, std::string resize, std::vector<float> mean, std::vector<float> stddev) {
  Options options;
  static_cast<Thresholds&>(options) = thresholds;
  options.engine = std::move(engine);
  options.device = std::move(device);
  options.precision = std::move(precision);
  options.threads = threads;
  options.names = std::move(names);
  options.imgsz = imgsz;
  options.rect = rect;
  options.tuned = tuned;
  options.profile = profile;
  options.augment = augment;
  options.scales = std::move(scales);
  options.flip = flip;
  options.merge = parse_merge(merge);
  for (const fs::path& path : scale_models) options.scale_models.push_back(path.string());
  options.engine_options = std::move(engine_options);
  options.flip_idx = std::move(flip_idx);
  options.skeleton = std::move(skeleton);
  options.channels = std::move(channels);
  options.resize = std::move(resize);
  options.mean = std::move(mean);
  options.stddev = std::move(stddev);
  options.between_runs = check_signals;
  return open_model<Detector>(model, format, options);
}

py::list detect(Detector& self, const py::sequence& images, const Thresholds& thresholds,
                const std::vector<std::optional<std::string>>& formats, std::optional<bool> augment) {
  const HeldImages held = hold_images(images, formats, self.channels());
  std::vector<Detections> found;
  {
    py::gil_scoped_release release;
    found = self.detect(held.views, thresholds, augment.value_or(!self.views().empty()));
  }
  py::list out;
  for (std::size_t i = 0; i < found.size(); ++i) out.append(to_tuple(std::move(found[i]), held.views[i], self.task()));
  return out;
}

/// The raw outputs for a float32 input (batch, channels, height, width).
py::list infer(Detector& self, const py::array_t<float, py::array::c_style>& input) {
  const auto [height, width] = self.imgsz();
  const int channels = self.channels();
  if (input.ndim() != 4 || input.shape(1) != channels || input.shape(2) != height || input.shape(3) != width) {
    throw std::invalid_argument("input: expected shape (batch, " + std::to_string(channels) + ", " +
                                std::to_string(height) + ", " + std::to_string(width) + "), got " +
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
}

py::list layer_times(Detector& self) {
  std::vector<LayerTime> times;
  {
    const py::gil_scoped_release release;
    times = self.layer_times();
  }
  py::list out;
  for (const LayerTime& time : times) out.append(py::make_tuple(to_str(time.name), to_str(time.type), time.ms));
  return out;
}

/// Per view: scale, whether it is mirrored, network input (height, width) and model.
py::list views(const Detector& self) {
  py::list out;
  for (const View& view : self.views()) {
    const auto [height, width] = view.imgsz;
    out.append(py::make_tuple(view.scale, view.flip, std::pair(height, width), to_str(view.model)));
  }
  return out;
}

void register_thresholds(py::module_& m) {
  py::class_<Thresholds>(m, "Thresholds")
      .def(py::init([](float conf, float iou, int max_det, std::vector<int> classes, bool agnostic, bool multi_label,
                       std::vector<float> class_conf) {
             return Thresholds{conf, iou, max_det, std::move(classes), agnostic, multi_label, std::move(class_conf)};
           }),
           py::kw_only(), py::arg("conf"), py::arg("iou"), py::arg("max_det"), py::arg("classes"), py::arg("agnostic"),
           py::arg("multi_label"), py::arg("class_conf"))
      .def_readonly("conf", &Thresholds::conf)
      .def_readonly("iou", &Thresholds::iou)
      .def_readonly("max_det", &Thresholds::max_det)
      .def_readonly("classes", &Thresholds::classes)
      .def_readonly("agnostic", &Thresholds::agnostic)
      .def_readonly("multi_label", &Thresholds::multi_label)
      .def_readonly("class_conf", &Thresholds::class_conf);
}

}  // namespace

void check_signals() {
  const py::gil_scoped_acquire gil;
  if (PyErr_CheckSignals() != 0) throw py::error_already_set();
}

void register_detector(py::module_& m) {
  register_thresholds(m);
  py::class_<Detector> detector(m, "Detector");
  detector
      .def(py::init(&make_detector), py::arg("model"), py::arg("thresholds"), py::kw_only(), py::arg("format"),
           py::arg("engine"), py::arg("device"), py::arg("precision"), py::arg("threads"), py::arg("names"),
           py::arg("imgsz"), py::arg("rect"), py::arg("tuned"), py::arg("profile"), py::arg("augment"),
           py::arg("scales"), py::arg("flip"), py::arg("merge"), py::arg("scale_models"), py::arg("engine_options"),
           py::arg("flip_idx"), py::arg("skeleton"), py::arg("channels"), py::arg("resize"), py::arg("mean"),
           py::arg("std"))
      .def("detect", &detect, py::arg("images"), py::arg("thresholds"), py::arg("formats"),
           py::arg("augment") = py::none())
      .def("infer", &infer, py::arg("input").noconvert())
      .def("layer_times", &layer_times)
      .def("check", &Detector::check, py::arg("thresholds"))
      .def_property_readonly("rect", &Detector::rect)
      .def_property_readonly("thresholds", &Detector::thresholds)
      .def_property_readonly("head", &Detector::head)
      .def_property_readonly("task", [](const Detector& self) { return to_text(self.task()); })
      .def_property_readonly("skeleton", &Detector::skeleton)
      .def_property_readonly("views", &views);
  register_model(detector);
}

}  // namespace yolort::bindings
