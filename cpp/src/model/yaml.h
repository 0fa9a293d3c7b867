// The block YAML that Ultralytics writes beside NCNN and OpenVINO models.
#pragma once

#include <string_view>

#include "model/value.h"

namespace yolort {

/// The YAML that PyYAML's dump() writes, and comments: block and flow collections, plain, quoted and block scalars,
/// tags of plain types; no anchors, no `? ` keys, one document. At most 8 MiB and 32 levels. Throws ParseError.
Value parse_yaml(std::string_view text);

}  // namespace yolort
