#include "result_json.h"

#include "json.h"

namespace yolort {
namespace {

std::string json_list(const float* values, std::size_t count, int digits) {
  std::string out = "[";
  for (std::size_t i = 0; i < count; ++i) out += (i ? "," : "") + json_number(values[i], digits);
  return out + "]";
}

/// Lists of `size` numbers each.
std::string json_lists(const float* values, std::size_t count, std::size_t size, int digits) {
  std::string out = "[";
  for (std::size_t i = 0; i < count; ++i) out += (i ? "," : "") + json_list(values + i * size, size, digits);
  return out + "]";
}

std::string json_size(int height, int width) {
  return "[" + std::to_string(height) + "," + std::to_string(width) + "]";
}

std::string json_detection(const Detections& found, std::size_t i, const std::string& name, const Image& image) {
  const Box& box = found.boxes[i];
  const float sides[] = {box.x1, box.y1, box.x2, box.y2};
  std::string out = "{\"box\":" + json_list(sides, 4, 4) + ",\"score\":" + json_number(found.scores[i], 6) +
                    ",\"class\":" + std::to_string(found.classes[i]) + ",\"name\":" + json_string(name);
  if (!found.masks.empty()) {
    out += ",\"mask\":{\"size\":" + json_size(image.height, image.width) +
           ",\"counts\":" + json_string(found.masks[i].rle(image.width, image.height)) + "}";
  }
  if (!found.keypoints.empty()) {
    const auto count = static_cast<std::size_t>(found.kpt_shape[0]),
               size = static_cast<std::size_t>(found.kpt_shape[1]);
    out += ",\"keypoints\":" + json_lists(found.keypoints.data() + i * count * size, count, size, 4);
  }
  if (!found.rotated.empty()) {
    const RotatedBox& turned = found.rotated[i];
    const float values[] = {turned.cx, turned.cy, turned.width, turned.height, turned.angle};
    out += ",\"rotated\":" + json_list(values, 5, 6) + ",\"corners\":" + json_lists(corners(turned).data(), 4, 2, 4);
  }
  return out + "}";
}

}  // namespace

std::string json_members(const Detections& found, const std::vector<std::string>& names, const Image& image) {
  std::string out = "\"shape\":" + json_size(image.height, image.width) + ",\"detections\":[";
  for (std::size_t i = 0; i < found.size(); ++i) {
    out += (i ? "," : "") + json_detection(found, i, names.at(static_cast<std::size_t>(found.classes[i])), image);
  }
  return out + "]";
}

}  // namespace yolort
