// Converts the metadata of a model to its ModelSpec.
#pragma once

#include <string>

#include "model/model.h"
#include "model/value.h"

namespace yolort {

/// Larger metadata, in bytes, is refused.
inline constexpr std::size_t max_metadata_bytes = parsing::max_size;

/// Throws ModelError that begins with the model's path.
[[noreturn]] void fail(const ModelSpec& spec, const std::string& what);

/// Fills the spec in from metadata: Ultralytics' keys and our `yolort` key. Throws ModelError.
void apply_metadata(ModelSpec& spec, const Dict& metadata);

}  // namespace yolort
