// The command line of yolort-detect.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

#include "yolort/yolort.h"

extern const char* const usage;

/// The command line is wrong.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Arguments {
  std::string model;
  std::vector<std::string> sources;
  yolort::Options options;
  std::string save;     ///< folder for annotated images; empty: none
  yolort::Image frame;  ///< raw frames: all fields except the pixels
};

/// Throws UsageError.
Arguments parse_arguments(const std::vector<std::string>& words);
