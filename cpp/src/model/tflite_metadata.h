// The metadata.json that Ultralytics appends to a .tflite file, in a ZIP archive.
#pragma once

#include "model/model.h"
#include "model/value.h"

namespace yolort {

/// Empty for a file without an archive. Throws ModelError.
Dict read_tflite_metadata(const ModelSpec& spec);

}  // namespace yolort
