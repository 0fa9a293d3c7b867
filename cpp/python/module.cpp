// yolort._core.
#include "bindings.h"
#include "yolort/c.h"

PYBIND11_MODULE(_core, m) {
  m.doc() = "The C++ core of yolort.";
  m.attr("__version__") = yolort_version();
  m.attr("__commit__") = YOLORT_COMMIT;
  m.attr("__compiler__") = YOLORT_COMPILER;
  yolort::bindings::register_errors(m);
  yolort::bindings::register_engines(m);
  yolort::bindings::register_images(m);
  yolort::bindings::register_results(m);
  yolort::bindings::register_detector(m);
  yolort::bindings::register_classifier(m);
  yolort::bindings::register_tensorrt_build(m);
  yolort::bindings::register_toolchain(m);
}
