// Values of metadata, for comparisons.
#pragma once

#include <cstdint>
#include <string>

#include "model/value.h"

namespace yolort {

inline std::string text(const Value* value) {
  const std::string* found = value ? value->as<std::string>() : nullptr;
  return found ? *found : "<no text>";
}

inline std::int64_t number(const Value* value) {
  const std::int64_t* found = value ? value->as<std::int64_t>() : nullptr;
  return found ? *found : -999;
}

}  // namespace yolort
