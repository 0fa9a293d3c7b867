// Converts structs that callers of the C API fill in to those of the C++ API.
#pragma once

#include <cstddef>

#include "yolort/c.h"
#include "yolort/yolort.h"

namespace yolort {

/// Throws std::invalid_argument for a null pointer.
void need(const void* pointer, const char* name);

/// Writes the defaults to a struct of `size` bytes, which may have fewer fields or more (those become zero). Throws
/// std::invalid_argument.
void set_defaults(yolort_thresholds* thresholds, std::size_t size);
void set_defaults(yolort_options* options, std::size_t size);

/// NULL: the defaults. Throws std::invalid_argument.
Thresholds to_thresholds(const yolort_thresholds* thresholds);
Options to_options(const yolort_options* options);

/// Throws std::invalid_argument.
Image to_image(const yolort_image& from);

}  // namespace yolort
