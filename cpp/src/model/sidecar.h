// metadata.yaml beside NCNN and OpenVINO models.
#pragma once

#include "model/model.h"
#include "model/value.h"

namespace yolort {

/// Empty if there is no such file. Throws ModelError.
Dict read_sidecar(const ModelSpec& spec);

}  // namespace yolort
