// The list of engines, and engines that are written in Python.
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <algorithm>
#include <memory>
#include <tuple>
#include <utility>

#include "bindings.h"
#include "core/engine.h"
#include "platform/warning.h"

namespace yolort::bindings {
namespace {

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
  if (array.ndim() < 2 || array.ndim() > 4 || !(array.flags() & py::array::c_style)) {
    throw ModelError("engine \"" + engine + "\": a tensor has shape " + std::string(py::str(array.attr("shape"))) +
                     ", expected 2 to 4 dimensions");
  }
  std::ptrdiff_t cells = 1;
  for (py::ssize_t d = 2; d < array.ndim(); ++d) cells *= array.shape(d);
  return {const_cast<void*>(array.data()), shape_of(array), cells, size == 4 ? Type::f32 : Type::f16};
}

/// Converts a Python exception to one of the library's, so that C++ callers see only these.
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

/// Holds the GIL only while Python runs. The buffers are the Python engine's own arrays.
class PythonEngine final : public Engine {
 public:
  /// `channels`: of the input.
  PythonEngine(std::string name, py::object impl, int channels) : name_(std::move(name)), impl_(std::move(impl)) {
    const auto shape = impl_.attr("input_shape").cast<std::tuple<int, int, int>>();
    shape_ = {std::get<0>(shape), std::get<1>(shape), std::get<2>(shape)};
    shape_.channels = channels;
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
      if (tensor.shape != std::vector<int>{batch, shape_.channels, height, width}) {
        throw ModelError("engine \"" + name_ + "\": the model's input does not take (" + std::to_string(batch) + ", " +
                         std::to_string(shape_.channels) + ", " + std::to_string(height) + ", " +
                         std::to_string(width) + ")");
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
      for (const py::handle row : impl_.attr("layer_times")()) {
        const auto [name, type, ms] = row.cast<std::tuple<std::string, std::string, double>>();
        out.push_back({name, type, ms});
      }
      return out;
    });
  }
  std::unique_ptr<Engine> clone() const override {
    return in_python(name_,
                     [&] { return std::make_unique<PythonEngine>(name_, impl_.attr("clone")(), shape_.channels); });
  }
  std::string device() const override { return device_; }
  std::string precision() const override { return precision_; }

 private:
  std::string name_;
  py::object impl_, run_;
  InputShape shape_;
  std::string device_, precision_;
  py::object input_;  // optional, because even an empty py::array holds a Python object
  Tensor lent_;
  std::vector<py::array> held_;
  std::vector<Tensor> tensors_;
};

/// `unavailable()` returns the reason or "", `load(path, device, precision, threads, profile)` the engine.
void register_python_engine(const std::string& name, int priority, const std::vector<std::string>& formats,
                            py::object unavailable, py::object load, py::object devices, py::object precisions) {
  // The static registry outlives the interpreter, so the Python objects in it are never released.
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
      return std::make_unique<PythonEngine>(
          name,
          make(py::str(py::cast(spec.graph)), options.device, options.precision, options.threads, options.profile),
          channels_of(spec, 0));
    });
  };
  entry.devices = [name, where] { return in_python(name, [&] { return where().cast<std::vector<std::string>>(); }); };
  entry.precisions = [name, pay](const std::string&) {
    return in_python(name, [&] { return pay().cast<std::vector<std::string>>(); });
  };
  register_engine(std::move(entry));
}

/// (name, available, reason, version, library) of each.
std::vector<std::tuple<std::string, bool, std::string, std::string, std::string>> list_engines() {
  std::vector<std::tuple<std::string, bool, std::string, std::string, std::string>> out;
  const py::gil_scoped_release release;
  for (const EngineStatus& status : engines()) {
    out.emplace_back(status.name, status.available, status.reason, status.version, status.library);
  }
  return out;
}

/// Opens nothing.
std::vector<std::string> list_names() {
  std::vector<std::string> out;
  for (const EngineEntry& entry : all_engines()) out.push_back(entry.name);
  return out;
}

py::list list_devices(const std::string& engine) {
  std::vector<std::string> found;
  {
    const py::gil_scoped_release release;
    found = devices(engine);
  }
  return to_list(found);
}

}  // namespace

void register_engines(py::module_& m) {
  set_warning_handler([](const std::string& text) {
    py::gil_scoped_acquire gil;
    py::module_::import("logging").attr("getLogger")("yolort").attr("warning")("%s", to_str(text));
  });
  m.def("engines", &list_engines);
  m.def("engine_names", &list_names);
  m.def("devices", &list_devices, py::arg("engine"));
  m.def("register_engine", &register_python_engine, py::arg("name"), py::arg("priority"), py::arg("formats"),
        py::arg("unavailable"), py::arg("load"), py::arg("devices"), py::arg("precisions"));
  m.def("unregister_engine", &unregister_engine, py::arg("name"));
}

}  // namespace yolort::bindings
