#include "arguments.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <functional>
#include <locale>
#include <map>
#include <sstream>

const char* const usage = R"(yolort-detect MODEL SOURCE... [OPTION VALUE]...
yolort-detect MODEL - --size WIDTHxHEIGHT [OPTION VALUE]...
yolort-detect --engines | --version | --help

Detects with MODEL in each SOURCE, an image or a folder of images, or in raw frames on the standard input (-), and
writes one line of JSON per image: boxes, and what the model finds beside them (masks, keypoints, oriented boxes).

  --save FOLDER      annotated images, as .png: masks, boxes, keypoints
  --skeleton A-B,... of poses: limbs between keypoints, for a model that does not say, such as 0-1,1-2
  --size WxH         frames: pixels, without padding between rows
  --format NAME      frames: bgr (the default), rgb, bgra, rgba, gray, or how many channels, 1 to 512
  --conf F           keep scores above this, 0 to 1; 0.25
  --iou F            NMS drops a box whose IoU with a better one is above this, 0 to 1; 0.7
  --max-det N        at most this many detections an image; 300
  --classes N,N      keep only these
  --imgsz N or HxW   size of the network input, for a dynamic model or one that does not say
  --input NAME=VALUE how pixels become the network input, for a model that does not say: channels=bgr (or rgb, or how
                     many), resize=stretch, mean=0.485,0.456,0.406, std=0.229,0.224,0.225; once for each
  --rect yes|no      pad each image only to the stride of the model; yes if its height and width are dynamic
  --engine NAME      ncnn, onnxruntime, tensorrt; see --engines
  --device NAME      cpu, 0 or cuda:0 (a GPU), vulkan:1
  --precision NAME   fp32, fp16 or bf16
  --threads N        one a core

Exit status: 0, 1 where something failed (a picture that cannot be read is told, and the rest goes on), 2 where the
command line is wrong.
)";

namespace {

int whole(const std::string& text) {
  int value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || stop != text.data() + text.size()) throw UsageError("expected a whole number");
  return value;
}

float real(const std::string& text) {
  std::istringstream stream(text);
  stream.imbue(std::locale::classic());
  float value = 0;
  if (!(stream >> value) || stream.peek() != std::char_traits<char>::eof()) throw UsageError("expected a number");
  return value;
}

/// Two numbers, "640x480".
std::array<int, 2> pair(const std::string& text) {
  const std::size_t at = text.find('x');
  if (at == std::string::npos) throw UsageError("expected two whole numbers, such as 640x480");
  return {whole(text.substr(0, at)), whole(text.substr(at + 1))};
}

std::vector<int> list(const std::string& text) {
  std::vector<int> out;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) out.push_back(whole(part));
  return out;
}

/// Limbs, "0-1,1-2".
yolort::Skeleton limbs(const std::string& text) {
  yolort::Skeleton out;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) {
    const std::size_t at = part.find('-');
    if (at == std::string::npos) throw UsageError("expected pairs of keypoints, such as 0-1,1-2");
    out.push_back({whole(part.substr(0, at)), whole(part.substr(at + 1))});
  }
  return out;
}

bool yes_or_no(const std::string& text) {
  if (text != "yes" && text != "no") throw UsageError("expected yes or no");
  return text == "yes";
}

void set_format(const std::string& text, yolort::Image& frame) {
  static const std::map<std::string, yolort::PixelFormat> known = {{"bgr", yolort::PixelFormat::bgr},
                                                                   {"rgb", yolort::PixelFormat::rgb},
                                                                   {"bgra", yolort::PixelFormat::bgra},
                                                                   {"rgba", yolort::PixelFormat::rgba},
                                                                   {"gray", yolort::PixelFormat::gray}};
  const auto found = known.find(text);
  if (found != known.end()) {
    frame.format = found->second;
    return;
  }
  const bool is_count = !text.empty() && text.size() < 4 && text.find_first_not_of("0123456789") == std::string::npos;
  frame.format = yolort::PixelFormat::channels;
  frame.channels = is_count ? whole(text) : 0;
  if (frame.channels < 1 || frame.channels > 512) throw UsageError("expected bgr, rgb, bgra, rgba, gray or 1 to 512");
}

/// "channels=6", ...
void set_input(const std::string& text, yolort::Options& options) {
  const std::size_t at = text.find('=');
  const std::string name = text.substr(0, at), value = at == std::string::npos ? "" : text.substr(at + 1);
  if (name == "channels" && !value.empty()) {
    options.channels = value;
  } else if (name == "resize" && !value.empty()) {
    options.resize = value;
  } else if ((name == "mean" || name == "std") && !value.empty()) {
    std::vector<float>& values = name == "mean" ? options.mean : options.stddev;
    values.clear();
    std::istringstream stream(value);
    for (std::string part; std::getline(stream, part, ',');) values.push_back(real(part));
  } else {
    throw UsageError("expected channels=, resize=, mean= or std=");
  }
}

}  // namespace

Arguments parse_arguments(const std::vector<std::string>& words) {
  Arguments out;
  yolort::Options& options = out.options;
  const std::map<std::string, std::function<void(const std::string&)>> known = {
      {"--size",
       [&](const std::string& text) {
         const auto [width, height] = pair(text);
         out.frame.width = width;
         out.frame.height = height;
         if (std::min(width, height) < 1 || std::max(width, height) > yolort::Image::max_side) {
           throw UsageError("expected 1 to 65535 pixels per side");
         }
       }},
      {"--format", [&](const std::string& text) { set_format(text, out.frame); }},
      {"--conf", [&](const std::string& text) { options.conf = real(text); }},
      {"--iou", [&](const std::string& text) { options.iou = real(text); }},
      {"--max-det", [&](const std::string& text) { options.max_det = whole(text); }},
      {"--classes", [&](const std::string& text) { options.classes = list(text); }},
      {"--imgsz",
       [&](const std::string& text) {
         options.imgsz = text.find('x') == std::string::npos ? std::array{whole(text), whole(text)} : pair(text);
       }},
      {"--input", [&](const std::string& text) { set_input(text, options); }},
      {"--rect", [&](const std::string& text) { options.rect = yes_or_no(text); }},
      {"--save", [&](const std::string& text) { out.save = text; }},
      {"--skeleton", [&](const std::string& text) { options.skeleton = limbs(text); }},
      {"--engine", [&](const std::string& text) { options.engine = text; }},
      {"--device", [&](const std::string& text) { options.device = text; }},
      {"--precision", [&](const std::string& text) { options.precision = text; }},
      {"--threads", [&](const std::string& text) { options.threads = whole(text); }},
  };
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word.size() < 2 || word[0] != '-') {
      (out.model.empty() ? out.model : out.sources.emplace_back()) = word;
      continue;
    }
    const auto option = known.find(word);
    if (option == known.end()) throw UsageError("unknown option " + word);
    if (++i == words.size()) throw UsageError(word + " has no value");
    try {
      option->second(words[i]);
    } catch (const UsageError& error) {
      throw UsageError(word + " " + words[i] + ": " + error.what());
    }
  }
  const bool frames = std::count(out.sources.begin(), out.sources.end(), "-") > 0;
  if (out.sources.empty()) throw UsageError("a model and at least one source are needed");
  if (frames && out.sources.size() > 1)
    throw UsageError("the standard input (-) cannot be combined with other sources");
  if (frames != (out.frame.width > 0))
    throw UsageError("--size and frames on the standard input (-) must be used together");
  return out;
}
