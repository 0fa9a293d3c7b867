// What the functions of the C API share: errors, and from their structs to those of C++.
#pragma once

#include <new>
#include <stdexcept>
#include <string>

#include "yolort/c.h"
#include "yolort/yolort.h"

namespace yolort::c {

/// Keeps the words for yolort_last_error().
yolort_status failed(yolort_status status, const char* what) noexcept;

/// Runs `call` and returns what it throws as a status.
template <class Call>
yolort_status guarded(Call call) noexcept {
  try {
    call();
    return YOLORT_OK;
  } catch (const yolort::FileNotFound& error) {
    return failed(YOLORT_FILE_NOT_FOUND, error.what());
  } catch (const yolort::ModelError& error) {
    return failed(YOLORT_MODEL_ERROR, error.what());
  } catch (const yolort::EngineError& error) {
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

/// Throws std::invalid_argument.
void need(const void* pointer, const char* name);

/// "" for NULL.
std::string text(const char* value);

yolort_thresholds default_thresholds();
yolort_options default_options();

// They throw std::invalid_argument.
Thresholds to_thresholds(const yolort_thresholds* thresholds);
Options to_options(const yolort_options* options);
Image to_image(const yolort_image& from);

}  // namespace yolort::c
