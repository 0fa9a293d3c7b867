#include "detect.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <filesystem>
#include <iostream>

#include "images.h"
#include "json.h"

namespace fs = std::filesystem;

namespace {

/// The images of a folder by name; any other path itself.
std::vector<fs::path> images_of(const fs::path& source) {
  if (!fs::is_directory(source)) return {source};
  std::vector<fs::path> out;
  for (const fs::directory_entry& entry : fs::directory_iterator(source)) {
    std::string ending = entry.path().extension().string();
    std::transform(ending.begin(), ending.end(), ending.begin(), [](unsigned char c) { return std::tolower(c); });
    const auto known = yolort::image_endings();
    if (std::find(known.begin(), known.end(), ending) != known.end()) out.push_back(entry.path());
  }
  std::sort(out.begin(), out.end());
  if (out.empty()) throw yolort::ImageError("\"" + source.string() + "\" has no pictures of a kind that is read here");
  return out;
}

/// Detects and writes the line; `source` is its beginning in JSON.
void detect(yolort::Detector& detector, const yolort::Image& image, const std::string& source) {
  const yolort::Detections found = detector.detect(image);
  std::string line = "{" + source + ",\"width\":" + std::to_string(image.width) +
                     ",\"height\":" + std::to_string(image.height) + ",\"detections\":[";
  for (std::size_t i = 0; i < found.size(); ++i) {
    const yolort::Box& box = found.boxes[i];
    line += std::string(i ? "," : "") + "{\"class\":" + std::to_string(found.classes[i]) +
            ",\"name\":" + yolort::json_string(detector.names().at(static_cast<std::size_t>(found.classes[i]))) +
            ",\"score\":" + yolort::json_number(found.scores[i], 6) + ",\"box\":[";
    for (const float side : {box.x1, box.y1, box.x2, box.y2}) line += yolort::json_number(side, 4) + ",";
    line.back() = ']';
    line += '}';
  }
  const yolort::Speed speed = detector.speed();
  line += "],\"ms\":{\"pre\":" + yolort::json_number(speed.pre, 3) +
          ",\"inference\":" + yolort::json_number(speed.inference, 3) +
          ",\"post\":" + yolort::json_number(speed.post, 3) + "}}";
  std::cout << line << std::endl;  // flushed: a reader gets each line at once
}

}  // namespace

bool detect_in_images(yolort::Detector& detector, const std::vector<std::string>& sources) {
  bool well = true;
  const auto tell = [&](const std::exception& error) {
    std::cerr << "yolort-detect: " << yolort::visible(error.what()) << '\n';
    well = false;
  };
  for (const std::string& source : sources) {
    try {
      for (const fs::path& path : images_of(source)) {
        try {
          const yolort::DecodedImage decoded = yolort::read_image(path);
          detect(detector, decoded.image(), "\"source\":" + yolort::json_string(path.string()));
        } catch (const yolort::ImageError& error) {
          tell(error);
        }
      }
    } catch (const yolort::ImageError& error) {
      tell(error);
    } catch (const fs::filesystem_error& error) {
      tell(error);
    }
  }
  return well;
}

bool detect_in_frames(yolort::Detector& detector, yolort::Image frame) {
  static constexpr std::size_t channels[] = {3, 3, 4, 4, 1};  // of each PixelFormat
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(frame.width) * static_cast<std::size_t>(frame.height) *
                                   channels[static_cast<int>(frame.format)]);
  frame.pixels = pixels.data();
  for (std::size_t i = 0;; ++i) {
    const std::size_t got = std::fread(pixels.data(), 1, pixels.size(), stdin);
    if (got == 0) return true;
    if (got < pixels.size()) {
      std::cerr << "yolort-detect: the last frame has " << got << " bytes, expected " << pixels.size() << '\n';
      return false;
    }
    detect(detector, frame, "\"frame\":" + std::to_string(i));
  }
}
