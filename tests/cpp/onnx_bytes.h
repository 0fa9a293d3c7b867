// Builds tiny ONNX files.
#pragma once

#include <string>

namespace yolort {

/// A protobuf field that holds bytes, or a number below 128.
inline std::string bytes(int field, const std::string& content) {
  std::string out(1, static_cast<char>(field << 3 | 2));
  for (std::size_t size = content.size();; size >>= 7) {
    out += static_cast<char>((size & 0x7F) | (size > 0x7F ? 0x80 : 0));
    if (size <= 0x7F) break;
  }
  return out + content;
}
inline std::string number(int field, int value) { return {static_cast<char>(field << 3), static_cast<char>(value)}; }

/// An ONNX file that quantizes `input` with a zero point of this type; 0: no zero point, to `output_dtype`.
inline std::string rounding(const std::string& input, int zero_point, int output_dtype = 0) {
  const std::string weights = bytes(5, number(2, 1) + bytes(9, std::string(300, 'w')) + bytes(8, "weights"));
  const std::string zero = number(2, zero_point) + bytes(8, "zero");
  const std::string constant =
      bytes(1, bytes(2, "constant") + bytes(4, "Constant") + bytes(5, bytes(1, "value") + bytes(5, number(2, 1))));
  std::string node = bytes(1, input) + bytes(1, "scale") + (zero_point ? bytes(1, "zero") : "") + bytes(2, "out");
  node += bytes(4, "QuantizeLinear");
  if (output_dtype) node += bytes(5, bytes(1, "output_dtype") + number(3, output_dtype));
  return number(1, 8) + bytes(7, constant + bytes(1, node) + weights + (zero_point ? bytes(5, zero) : ""));
}

}  // namespace yolort
