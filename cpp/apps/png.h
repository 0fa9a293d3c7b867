// PNG files, without compression: no library is needed to write them.
#pragma once

#include <filesystem>

#include "images.h"

namespace yolort {

/// Writes an image file atomically. The file ends with the mark of files that yolort wrote
/// (python/yolort/_atomic.py), and replaces only a file that has it. Throws ImageError.
void write_png(const std::filesystem::path& path, const DecodedImage& image);

}  // namespace yolort
