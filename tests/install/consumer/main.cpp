#include <yolort/yolort.h>

#include <iostream>
#include <vector>

/// consumer MODEL: detects in a gray picture of its own.
int main(int argc, char** argv) try {
  for (const yolort::EngineStatus& engine : yolort::engines()) {
    std::cout << engine.name << ' ' << (engine.available ? "available" : engine.reason) << '\n';
  }
  if (argc < 2) return 0;
  yolort::Detector detector(argv[1]);
  const std::vector<unsigned char> pixels(640 * 480 * 3, 114);
  const yolort::Detections found = detector.detect({pixels.data(), 640, 480});
  std::cout << found.size() << " detections by " << detector.engine() << '\n';
  return 0;
} catch (const yolort::Error& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
