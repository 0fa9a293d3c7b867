#include "detect.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <filesystem>
#include <iostream>

#include "draw.h"
#include "images.h"
#include "json.h"
#include "png.h"
#include "result_json.h"

namespace fs = std::filesystem;

namespace {

/// The images of a folder, sorted by name; any other path is returned as it is.
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
  if (out.empty()) throw yolort::ImageError("\"" + source.string() + "\" has no image files in a supported format");
  return out;
}

}  // namespace

Output::Output(yolort::Detector& detector, const std::string& folder) : detector_(detector), folder_(folder) {
  if (!folder.empty()) fs::create_directories(folder_);
}

void Output::detect(const yolort::Image& image, const std::string& about, const std::string& name) {
  const yolort::Detections found = detector_.detect(image);
  const yolort::Speed speed = detector_.speed();
  const std::string line = "{" + about + "," + yolort::json_members(found, detector_.names(), image) +
                           ",\"speed\":{\"pre\":" + yolort::json_number(speed.pre, 3) +
                           ",\"inference\":" + yolort::json_number(speed.inference, 3) +
                           ",\"post\":" + yolort::json_number(speed.post, 3) + "}}";
  std::cout << line << std::endl;  // flushed, so that a reader gets each line at once
  if (folder_.empty()) return;
  yolort::DecodedImage drawn = yolort::to_rgb(image);
  yolort::draw(drawn, found, detector_.skeleton());
  std::string free = name;
  for (int count = 2; !taken_.insert(free).second; ++count) free = name + "-" + std::to_string(count);
  yolort::write_png(folder_ / (free + ".png"), drawn);
}

bool detect_in_images(Output& output, const std::vector<std::string>& sources) {
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
          output.detect(decoded.image(), "\"path\":" + yolort::json_string(path.string()), path.stem().string());
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

bool detect_in_frames(Output& output, yolort::Image frame) {
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(frame.width) * static_cast<std::size_t>(frame.height) *
                                   yolort::pixel_size(frame));
  frame.pixels = pixels.data();
  for (std::size_t i = 0;; ++i) {
    const std::size_t got = std::fread(pixels.data(), 1, pixels.size(), stdin);
    if (got == 0) return true;
    if (got < pixels.size()) {
      std::cerr << "yolort-detect: the last frame has " << got << " bytes, expected " << pixels.size() << '\n';
      return false;
    }
    output.detect(frame, "\"index\":" + std::to_string(i) + ",\"path\":null", "frame-" + std::to_string(i));
  }
}
