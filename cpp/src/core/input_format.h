// How pixels are converted to the network input, according to the metadata and the caller's options.
#pragma once

#include "model/model.h"
#include "yolort/yolort.h"

namespace yolort {

/// Applies the options. Throws std::invalid_argument.
void ask_input(InputFormat& format, const Options& options);

/// Sets the number of channels that the engine expects, and checks the format against it. Throws ModelError,
/// std::invalid_argument.
void complete_input(ModelSpec& spec, int channels);

}  // namespace yolort
