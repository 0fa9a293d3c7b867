// The block YAML that Ultralytics writes beside NCNN and OpenVINO models.
#pragma once

#include <string_view>

#include "model/value.h"

namespace yolort {

/// The subset of YAML that PyYAML's dump() writes, and comments: block mappings and lists, flow collections, quoted and
/// folded scalars; no anchors, tags, block scalars or `? ` keys. At most 1 MiB and 32 levels. Throws ParseError.
Value parse_yaml(std::string_view text);

}  // namespace yolort
