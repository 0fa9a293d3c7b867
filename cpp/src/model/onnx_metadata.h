// `metadata_props` of an ONNX file.
#pragma once

#include "model/model.h"
#include "model/value.h"

namespace yolort {

/// The keys and values, all text. The graph and its weights are skipped. Throws ModelError.
Dict read_onnx_metadata(const ModelSpec& spec);

}  // namespace yolort
