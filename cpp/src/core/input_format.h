// How pixels become the network input, from the metadata and the caller's options.
#pragma once

#include "model/model.h"
#include "yolort/yolort.h"

namespace yolort {

/// Applies the options. Throws std::invalid_argument.
void ask_input(InputFormat& format, const Options& options);

/// Completes the format with the channels that the engine takes, and checks that it fits them. Throws ModelError,
/// std::invalid_argument.
void complete_input(ModelSpec& spec, int channels);

}  // namespace yolort
