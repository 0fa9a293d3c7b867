// Decompression with the system's zlib, which is opened at run time.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

namespace yolort {

/// The contents of a raw deflate stream (RFC 1951); nothing if it is damaged or its size differs from `size`. Throws
/// EngineError if there is no zlib.
std::optional<std::string> inflate_raw(const std::string& deflated, std::size_t size);

}  // namespace yolort
