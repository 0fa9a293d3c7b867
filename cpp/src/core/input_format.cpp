#include "core/input_format.h"

#include <charconv>
#include <cmath>
#include <stdexcept>
#include <string>

namespace yolort {
namespace {

/// 0 if it is not a valid number of channels.
int channel_count(const std::string& text) {
  int count = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  return error == std::errc() && stop == text.data() + text.size() && count >= 1 && count <= max_channels ? count : 0;
}

/// One value for all channels or one per channel; all finite.
void check_values(const std::vector<float>& values, const char* name, int channels) {
  if (values.size() > 1 && values.size() != static_cast<std::size_t>(channels)) {
    throw std::invalid_argument(std::string(name) + " has " + std::to_string(values.size()) +
                                " values, expected one, or one for each of the " + std::to_string(channels) +
                                " channels");
  }
  for (const float value : values) {
    if (!std::isfinite(value) || (std::string(name) == "std" && value == 0)) {
      throw std::invalid_argument(std::string(name) + " is " + std::to_string(value) + ", expected a finite number" +
                                  (std::string(name) == "std" ? " other than 0" : ""));
    }
  }
}

}  // namespace

void ask_input(InputFormat& format, const Options& options) {
  if (options.channels == "rgb" || options.channels == "bgr") {
    format.channels = 3;
    format.bgr = options.channels == "bgr";
  } else if (!options.channels.empty()) {
    format.channels = channel_count(options.channels);
    if (!format.channels) {
      throw std::invalid_argument("channels is \"" + options.channels + "\", expected rgb, bgr or a number, 1 to " +
                                  std::to_string(max_channels));
    }
  }
  if (!options.resize.empty()) {
    if (options.resize != "letterbox" && options.resize != "stretch") {
      throw std::invalid_argument("resize is \"" + options.resize + "\", expected letterbox or stretch");
    }
    format.stretch = options.resize == "stretch";
  }
  if (!options.mean.empty()) format.mean = options.mean;
  if (!options.stddev.empty()) format.stddev = options.stddev;
}

void complete_input(ModelSpec& spec, int channels) {
  InputFormat& format = spec.input;
  if (format.channels && format.channels != channels) {
    throw ModelError("model \"" + spec.path + "\": its graph takes " + std::to_string(channels) +
                     " channel(s), its metadata or channels= says " + std::to_string(format.channels));
  }
  if (format.bgr && channels != 3) {
    throw std::invalid_argument("channels is \"bgr\", but model \"" + spec.path + "\" takes " +
                                std::to_string(channels) + " channel(s)");
  }
  format.channels = channels;
  check_values(format.mean, "mean", channels);
  check_values(format.stddev, "std", channels);
}

}  // namespace yolort
