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

  /// Detects and writes. `about`: the first members of the JSON; `name`: of the image file, without its ending. Throws
  /// the exceptions of Detector, and yolort::ImageError if the image cannot be written.
  void detect(const yolort::Image& image, const std::string& about, const std::string& name);

 private:
  yolort::Detector& detector_;
  std::filesystem::path folder_;
  std::set<std::string> taken_;  ///< names of the image files
};

/// Detects in image files and folders of them. An image that cannot be read is reported on the standard error; the
/// others follow, and false is returned.
bool detect_in_images(Output& output, const std::vector<std::string>& sources);

/// Detects in raw frames from the standard input, each as `frame` says. False: the last one is incomplete.
bool detect_in_frames(Output& output, yolort::Image frame);
