// Detects in the sources of yolort-detect, and writes one line of JSON per image to the standard output.
#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "yolort/yolort.h"

/// Output of results: lines of JSON, and annotated images if a folder is given.
class Output {
 public:
  /// Makes the folder. Throws std::filesystem::filesystem_error.
  Output(yolort::Detector& detector, const std::string& folder);

  /// Detects and writes the result. `about`: the first members of the JSON; `name`: the image file's name without its
  /// extension. Throws
  /// the exceptions of Detector, and yolort::ImageError if the image cannot be written.
  void detect(const yolort::Image& image, const std::string& about, const std::string& name);

 private:
  yolort::Detector& detector_;
  std::filesystem::path folder_;
  std::set<std::string> taken_;  ///< names of the image files
};

/// Detects in image files and folders of them. Images that cannot be read are reported on standard error and skipped;
/// the result is then false.
bool detect_in_images(Output& output, const std::vector<std::string>& sources);

/// Detects in raw frames from standard input, described by `frame`. Returns false if the last one is incomplete.
bool detect_in_frames(Output& output, yolort::Image frame);
