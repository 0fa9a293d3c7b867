// Parser for JSON and Python literals, which Ultralytics stores in ONNX files.
#pragma once

#include <string_view>

#include "model/value.h"

namespace yolort {

/// JSON or a Python literal: null/None, true/True, numbers, quoted strings, lists, tuples, dicts. At most 8 MiB and
/// 32 levels. Throws ParseError.
Value parse_literal(std::string_view text);

}  // namespace yolort
