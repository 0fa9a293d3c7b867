#include <yolort/yolort.h>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <vector>

/// consumer MODEL [FRAME WIDTH HEIGHT]: detects in a file of raw BGR, or in a gray picture of its own.
int main(int argc, char** argv) try {
  for (const yolort::EngineStatus& engine : yolort::engines()) {
    std::cout << engine.name << ' ' << (engine.available ? "available" : engine.reason) << '\n';
  }
  if (argc < 2) return 0;
  yolort::Options options;
  options.precision = argc > 4 ? "fp32" : "";
  yolort::Detector detector(argv[1], options);
  const int width = argc > 4 ? std::atoi(argv[3]) : 640, height = argc > 4 ? std::atoi(argv[4]) : 480;
  std::vector<unsigned char> pixels(static_cast<std::size_t>(width) * height * 3, 114);
  if (argc > 4) {
    std::ifstream file(argv[2], std::ios::binary);
    file.read(reinterpret_cast<char*>(pixels.data()), static_cast<std::streamsize>(pixels.size()));
  }
  const yolort::Detections found = detector.detect({pixels.data(), width, height});
  for (std::size_t i = 0; i < found.size(); ++i) {
    const yolort::Box& box = found.boxes[i];
    std::cout << "detection " << found.classes[i] << ' ' << found.scores[i] << ' ' << box.x1 << ' ' << box.y1 << ' '
              << box.x2 << ' ' << box.y2 << '\n';
  }
  std::cout << found.size() << " detections by " << detector.engine() << '\n';
  return 0;
} catch (const yolort::Error& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
