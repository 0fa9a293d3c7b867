// What yolort-detect does with its sources: a line of JSON an image on the standard output.
#pragma once

#include <string>
#include <vector>

#include "yolort/yolort.h"

/// In image files and folders of them. An image that cannot be read is reported on the standard error, and false is
/// returned after the others.
bool detect_in_images(yolort::Detector& detector, const std::vector<std::string>& sources);

/// In raw frames from the standard input, each as `frame` says. False: the last one is incomplete.
bool detect_in_frames(yolort::Detector& detector, yolort::Image frame);
