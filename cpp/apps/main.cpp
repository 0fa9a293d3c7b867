// yolort-detect: pictures, folders or raw frames in, one line of JSON an image out.
#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <iostream>
#include <locale>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "json.h"
#include "picture.h"
#include "yolort/c.h"
#include "yolort/yolort.h"

namespace fs = std::filesystem;

namespace {

constexpr const char* usage = R"(yolort-detect MODEL SOURCE... [OPTION VALUE]...
yolort-detect MODEL - --size WIDTHxHEIGHT [OPTION VALUE]...
yolort-detect --engines | --version | --help

Detects with MODEL in each SOURCE, a picture or a folder of pictures, or in raw frames on the standard input (-), and
writes one line of JSON an image.

  --size WxH         frames: pixels, without padding between rows
  --format NAME      frames: bgr (the default), rgb, bgra, rgba or gray
  --conf F           keep scores above this, 0 to 1; 0.25
  --iou F            NMS drops a box whose IoU with a better one is above this, 0 to 1; 0.7
  --max-det N        at most this many detections an image; 300
  --classes N,N      keep only these
  --imgsz N or HxW   size of the network input, for a dynamic model or one that does not say
  --engine NAME      ncnn, onnxruntime, tensorrt; see --engines
  --device NAME      cpu, 0 or cuda:0 (a GPU), vulkan:1
  --precision NAME   fp32, fp16 or bf16
  --threads N        one a core

Exit status: 0, 1 where something failed (a picture that cannot be read is told, and the rest goes on), 2 where the
command line is wrong.
)";

/// The command line is wrong.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Arguments {
  std::string model;
  std::vector<std::string> sources;
  yolort::Options options;
  yolort::Image frame;  ///< of raw frames: everything but the pixels
};

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
  for (std::string one; std::getline(stream, one, ',');) out.push_back(whole(one));
  return out;
}

yolort::PixelFormat pixel_format(const std::string& text) {
  static const std::map<std::string, yolort::PixelFormat> known = {{"bgr", yolort::PixelFormat::bgr},
                                                                   {"rgb", yolort::PixelFormat::rgb},
                                                                   {"bgra", yolort::PixelFormat::bgra},
                                                                   {"rgba", yolort::PixelFormat::rgba},
                                                                   {"gray", yolort::PixelFormat::gray}};
  const auto found = known.find(text);
  if (found == known.end()) throw UsageError("expected bgr, rgb, bgra, rgba or gray");
  return found->second;
}

Arguments parse(const std::vector<std::string>& words) {
  Arguments out;
  yolort::Options& options = out.options;
  const std::map<std::string, std::function<void(const std::string&)>> known = {
      {"--size",
       [&](const std::string& text) {
         const auto [width, height] = pair(text);
         out.frame.width = width;
         out.frame.height = height;
         if (std::min(width, height) < 1 || std::max(width, height) > yolort::Image::max_side) {
           throw UsageError("expected 1 to 65535 pixels a side");
         }
       }},
      {"--format", [&](const std::string& text) { out.frame.format = pixel_format(text); }},
      {"--conf", [&](const std::string& text) { options.conf = real(text); }},
      {"--iou", [&](const std::string& text) { options.iou = real(text); }},
      {"--max-det", [&](const std::string& text) { options.max_det = whole(text); }},
      {"--classes", [&](const std::string& text) { options.classes = list(text); }},
      {"--imgsz",
       [&](const std::string& text) {
         options.imgsz = text.find('x') == std::string::npos ? std::array{whole(text), whole(text)} : pair(text);
       }},
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
    if (option == known.end()) throw UsageError("there is no option " + word);
    if (++i == words.size()) throw UsageError(word + " has no value");
    try {
      option->second(words[i]);
    } catch (const UsageError& error) {
      throw UsageError(word + " " + words[i] + ": " + error.what());
    }
  }
  const bool frames = std::count(out.sources.begin(), out.sources.end(), "-") > 0;
  if (out.sources.empty()) throw UsageError("a model and at least one source are needed");
  if (frames && out.sources.size() > 1) throw UsageError("frames on the standard input (-) are the only source");
  if (frames != (out.frame.width > 0)) throw UsageError("--size goes with frames on the standard input (-)");
  return out;
}

/// The pictures of a folder, by name; another path as it is.
std::vector<fs::path> pictures_of(const fs::path& source) {
  if (!fs::is_directory(source)) return {source};
  std::vector<fs::path> out;
  for (const fs::directory_entry& entry : fs::directory_iterator(source)) {
    std::string ending = entry.path().extension().string();
    std::transform(ending.begin(), ending.end(), ending.begin(), [](unsigned char c) { return std::tolower(c); });
    const auto known = yolort::picture_endings();
    if (std::find(known.begin(), known.end(), ending) != known.end()) out.push_back(entry.path());
  }
  std::sort(out.begin(), out.end());
  if (out.empty())
    throw yolort::PictureError("\"" + source.string() + "\" has no pictures of a kind that is read here");
  return out;
}

/// Detects, and writes the line; `source` is the beginning of it, in JSON.
void detect(yolort::Detector& detector, const yolort::Image& image, const std::string& source) {
  const yolort::Detections found = detector.detect(image);
  std::string line = "{" + source + ",\"width\":" + std::to_string(image.width) +
                     ",\"height\":" + std::to_string(image.height) + ",\"detections\":[";
  for (std::size_t i = 0; i < found.size(); ++i) {
    const yolort::Box& box = found.boxes[i];
    line += std::string(i ? "," : "") + "{\"class\":" + std::to_string(found.classes[i]) +
            ",\"name\":" + yolort::json_string(detector.names().at(static_cast<std::size_t>(found.classes[i]))) +
            ",\"score\":" + yolort::json_number(found.scores[i], 4) + ",\"box\":[";
    for (const float side : {box.x1, box.y1, box.x2, box.y2}) line += yolort::json_number(side, 2) + ",";
    line.back() = ']';
    line += '}';
  }
  const yolort::Speed speed = detector.speed();
  line += "],\"ms\":{\"pre\":" + yolort::json_number(speed.pre, 3) +
          ",\"inference\":" + yolort::json_number(speed.inference, 3) +
          ",\"post\":" + yolort::json_number(speed.post, 3) + "}}";
  std::cout << line << std::endl;  // a line is there as soon as it is known
}

/// True: all went well.
bool detect_in_pictures(yolort::Detector& detector, const std::vector<std::string>& sources) {
  bool well = true;
  const auto tell = [&](const std::exception& error) {
    std::cerr << "yolort-detect: " << yolort::visible(error.what()) << '\n';
    well = false;
  };
  for (const std::string& source : sources) {
    try {
      for (const fs::path& path : pictures_of(source)) {
        try {
          const yolort::Picture picture = yolort::read_picture(path);
          detect(detector, picture.image(), "\"source\":" + yolort::json_string(path.string()));
        } catch (const yolort::PictureError& error) {
          tell(error);
        }
      }
    } catch (const yolort::PictureError& error) {
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

}  // namespace

int main(int argc, char** argv) try {
  const std::vector<std::string> words(argv + 1, argv + argc);
  const std::string first = words.empty() ? "--help" : words[0];
  if (first == "--help") {
    std::cout << usage << "\nPictures that this build reads:";
    for (const std::string& ending : yolort::picture_endings()) std::cout << ' ' << ending;
    std::cout << '\n';
    return words.empty() ? 2 : 0;
  }
  if (first == "--version") {
    std::cout << yolort_version() << '\n';
    return 0;
  }
  if (first == "--engines") {
    for (const yolort::EngineStatus& engine : yolort::engines()) {
      std::cout << engine.name << ": " << (engine.available ? "available" : yolort::visible(engine.reason)) << '\n';
      if (!engine.available) continue;
      for (const std::string& device : yolort::devices(engine.name))
        std::cout << "  " << yolort::visible(device) << '\n';
    }
    return 0;
  }
  const Arguments arguments = parse(words);
  yolort::Detector detector(arguments.model, arguments.options);
  const bool well = arguments.frame.width ? detect_in_frames(detector, arguments.frame)
                                          : detect_in_pictures(detector, arguments.sources);
  return well ? 0 : 1;
} catch (const UsageError& error) {
  std::cerr << "yolort-detect: " << yolort::visible(error.what()) << "; see yolort-detect --help\n";
  return 2;
} catch (const std::exception& error) {
  std::cerr << "yolort-detect: " << yolort::visible(error.what()) << '\n';
  return 1;
}
