#include "c_status.h"

#include <string>

namespace yolort {
namespace {
thread_local std::string last_error;
}

yolort_status failed(yolort_status status, const char* what) noexcept {
  try {
    last_error = what;
  } catch (...) {  // out of memory: the status without a message
    last_error.clear();
  }
  return status;
}

}  // namespace yolort

const char* yolort_last_error(void) { return yolort::last_error.c_str(); }
