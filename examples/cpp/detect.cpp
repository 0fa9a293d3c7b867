// Detects in a frame of raw BGR pixels: detect_cpp MODEL FRAME WIDTH HEIGHT
#include <yolort/yolort.h>

#include <cstdio>
#include <fstream>
#include <iostream>

int main(int argc, char** argv) try {
  if (argc != 5) throw std::invalid_argument("detect_cpp MODEL FRAME WIDTH HEIGHT");
  const int width = std::stoi(argv[3]), height = std::stoi(argv[4]);
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3);
  std::ifstream(argv[2], std::ios::binary)
      .read(reinterpret_cast<char*>(pixels.data()), static_cast<std::streamsize>(pixels.size()));

  yolort::Detector detector(argv[1]);
  const yolort::Detections found = detector.detect({pixels.data(), width, height});
  for (std::size_t i = 0; i < found.size(); ++i) {
    const yolort::Box& box = found.boxes[i];
    std::printf("%s %.3f %.1f %.1f %.1f %.1f\n", detector.names()[static_cast<std::size_t>(found.classes[i])].c_str(),
                found.scores[i], box.x1, box.y1, box.x2, box.y2);
  }
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
