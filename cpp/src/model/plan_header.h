// The header that Ultralytics and yolort write before a TensorRT plan: int32 N, N bytes of JSON.
#pragma once

#include "model/model.h"
#include "model/value.h"

namespace yolort {

/// Sets `spec.plan`, too. A file without a header is a bare plan, which starts at 0. Throws ModelError.
Dict read_plan_header(ModelSpec& spec);

}  // namespace yolort
