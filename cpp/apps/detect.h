// What yolort-detect does with its sources: it writes one line of JSON per image to the standard output.
#pragma once

#include <string>
#include <vector>

#include "yolort/yolort.h"

/// Detects in image files and folders of them. An image that cannot be read is reported on the standard error; the
/// others follow, and false is returned.
bool detect_in_images(yolort::Detector& detector, const std::vector<std::string>& sources);

/// Detects in raw frames from the standard input, each as `frame` says. False: the last one is incomplete.
bool detect_in_frames(yolort::Detector& detector, yolort::Image frame);
