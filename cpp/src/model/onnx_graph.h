// What the graph of an ONNX file does, without loading its weights.
#pragma once

#include <cstdint>
#include <istream>

namespace yolort {

/// Whether activations are rounded to signed 8 bits (QuantizeLinear of what is no constant). Throws ParseError.
bool rounds_activations_to_int8(std::istream& onnx, std::uint64_t size);

}  // namespace yolort
