// yolort-detect: images, folders or raw frames in, one line of JSON per image out.
#include <iostream>
#include <string>
#include <vector>

#include "arguments.h"
#include "detect.h"
#include "images.h"
#include "json.h"
#include "yolort/c.h"
#include "yolort/yolort.h"

int main(int argc, char** argv) try {
  const std::vector<std::string> words(argv + 1, argv + argc);
  const std::string first = words.empty() ? "--help" : words[0];
  if (first == "--help") {
    std::cout << usage << "\nPictures that this build reads:";
    for (const std::string& ending : yolort::image_endings()) std::cout << ' ' << ending;
    std::cout << '\n';
    return words.empty() ? 2 : 0;
  }
  if (first == "--version") {
    std::cout << yolort_version() << '\n';
    return 0;
  }
  if (first == "--engines") {
    for (const yolort::EngineStatus& engine : yolort::engines()) {
      std::cout << engine.name << ": " << (engine.available ? "available" : yolort::visible(engine.reason));
      if (!engine.version.empty()) std::cout << ", " << yolort::visible(engine.version);
      if (!engine.library.empty()) std::cout << ", " << yolort::visible(engine.library);
      std::cout << '\n';
      if (!engine.available) continue;
      for (const std::string& device : yolort::devices(engine.name))
        std::cout << "  " << yolort::visible(device) << '\n';
    }
    return 0;
  }
  const Arguments arguments = parse_arguments(words);
  yolort::Detector detector(arguments.model, arguments.options);
  Output output(detector, arguments.save);
  const bool well =
      arguments.frame.width ? detect_in_frames(output, arguments.frame) : detect_in_images(output, arguments.sources);
  return well ? 0 : 1;
} catch (const UsageError& error) {
  std::cerr << "yolort-detect: " << yolort::visible(error.what()) << "; see yolort-detect --help\n";
  return 2;
} catch (const std::exception& error) {
  std::cerr << "yolort-detect: " << yolort::visible(error.what()) << '\n';
  return 1;
}
