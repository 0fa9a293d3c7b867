// Maps the core's exceptions to Python exceptions.
#include "bindings.h"

namespace yolort::bindings {

void register_errors(py::module_& m) {
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
}

}  // namespace yolort::bindings
