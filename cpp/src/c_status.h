// Converts exceptions to status codes of the C API.
#pragma once

#include <new>
#include <stdexcept>

#include "yolort/c.h"
#include "yolort/yolort.h"

namespace yolort {

/// Stores the message for yolort_last_error().
yolort_status failed(yolort_status status, const char* what) noexcept;

/// Runs `call` and converts its exceptions to a status.
template <class Call>
yolort_status guarded(Call call) noexcept {
  try {
    call();
    return YOLORT_OK;
  } catch (const FileNotFound& error) {
    return failed(YOLORT_FILE_NOT_FOUND, error.what());
  } catch (const ModelError& error) {
    return failed(YOLORT_MODEL_ERROR, error.what());
  } catch (const EngineError& error) {
    return failed(YOLORT_ENGINE_ERROR, error.what());
  } catch (const std::invalid_argument& error) {
    return failed(YOLORT_INVALID_ARGUMENT, error.what());
  } catch (const std::bad_alloc&) {
    return failed(YOLORT_OUT_OF_MEMORY, "out of memory");
  } catch (const std::exception& error) {
    return failed(YOLORT_INTERNAL_ERROR, error.what());
  } catch (...) {
    return failed(YOLORT_INTERNAL_ERROR, "an exception of unknown type");
  }
}

}  // namespace yolort
