// Reads masks, keypoints and oriented boxes: tasks_cpp MODEL FRAME WIDTH HEIGHT
#include <yolort/yolort.h>

#include <cstdio>
#include <fstream>
#include <iostream>

int main(int argc, char** argv) try {
  if (argc != 5) throw std::invalid_argument("tasks_cpp MODEL FRAME WIDTH HEIGHT");
  const int width = std::stoi(argv[3]), height = std::stoi(argv[4]);
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3);
  std::ifstream(argv[2], std::ios::binary)
      .read(reinterpret_cast<char*>(pixels.data()), static_cast<std::streamsize>(pixels.size()));

  yolort::Detector detector(argv[1]);
  const yolort::Detections found = detector.detect({pixels.data(), width, height});
  for (std::size_t i = 0; i < found.size(); ++i) {
    std::printf("%s %.3f", detector.names()[static_cast<std::size_t>(found.classes[i])].c_str(), found.scores[i]);
    if (detector.task() == yolort::Task::segment) {
      const yolort::Mask& mask = found.masks[i];  // mask.at(x, y): whether a pixel belongs to the object
      std::printf(" %zu pixels, COCO RLE %s", mask.area(), mask.rle(width, height).c_str());
    }
    if (detector.task() == yolort::Task::pose) {
      const auto [count, size] = found.kpt_shape;  // keypoints with two values have no visibility
      const float* point = &found.keypoints[i * static_cast<std::size_t>(count * size)];
      for (int k = 0; k < count; ++k, point += size) std::printf(" %.1f,%.1f", point[0], point[1]);
    }
    if (detector.task() == yolort::Task::obb) {
      const std::array<float, 8> corners = yolort::corners(found.rotated[i]);
      for (std::size_t k = 0; k < 8; k += 2) std::printf(" %.1f,%.1f", corners[k], corners[k + 1]);
    }
    std::printf("\n");
  }
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
