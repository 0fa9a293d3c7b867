#include "model/model.h"

#include <algorithm>
#include <fstream>
#include <stdexcept>

#include "model/metadata.h"
#include "model/onnx_metadata.h"
#include "model/plan_header.h"
#include "model/sidecar.h"
#include "model/tflite_metadata.h"
#include "platform/memory_stream.h"

namespace fs = std::filesystem;

namespace yolort {
namespace {

/// The one file with this ending in a folder, or the path itself. If there are several, because pnnx left some, it is
/// the one named by Ultralytics.
fs::path find_graph(const ModelSpec& spec, const fs::path& path, const std::string& ending) {
  if (!fs::is_directory(path)) return path;
  const fs::path usual = path / ("model.ncnn" + ending);
  std::error_code error;
  if (fs::is_regular_file(usual, error)) return usual;
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(path)) {
    const std::string name = entry.path().filename().string();
    if (name.size() > ending.size() && name.compare(name.size() - ending.size(), ending.size(), ending) == 0) {
      found.push_back(entry.path());
    }
  }
  if (found.size() == 1) return found[0];
  if (found.empty()) fail(spec, "the folder has no " + ending + " file");
  fail(spec, "the folder has more than one " + ending + " file; give the path of one of them, such as " +
                 std::min(found[0], found[1]).string());
}

bool has_file(const fs::path& folder, const std::string& ending) {
  std::error_code error;
  return std::any_of(fs::directory_iterator(folder, error), fs::directory_iterator{},
                     [&](const auto& entry) { return entry.path().extension() == ending; });
}

void read_metadata(ModelSpec& spec) {
  apply_metadata(spec, spec.format == Format::onnx       ? read_onnx_metadata(spec)
                       : spec.format == Format::tensorrt ? read_plan_header(spec)
                       : spec.format == Format::tflite   ? read_tflite_metadata(spec)
                                                         : read_sidecar(spec));
}

}  // namespace

std::string to_text(Format format) {
  switch (format) {
    case Format::onnx: return "onnx";
    case Format::ncnn: return "ncnn";
    case Format::openvino: return "openvino";
    case Format::tensorrt: return "tensorrt";
    case Format::tflite: return "tflite";
  }
  return "";
}

std::string to_text(Task task) {
  switch (task) {
    case Task::detect: return "detect";
    case Task::segment: return "segment";
    case Task::pose: return "pose";
    case Task::obb: return "obb";
    case Task::classify: return "classify";
  }
  return "";
}

std::string HeadLayout::name() const {
  switch (head) {
    case Head::raw: return nms ? "raw" : "raw-e2e";
    case Head::boxes: return "boxes";
    case Head::end2end: return "end2end";
    case Head::rows: return "rows";
    case Head::indexed: return "indexed";
    case Head::probs: return "probs";
    case Head::unknown: break;
  }
  return "unknown";
}

bool ModelSpec::may_be_cut() const {
  constexpr std::uintmax_t max_bytes = std::uintmax_t{1} << 31;  // ONNX files cannot be larger
  const auto author = metadata.find("author");
  // Keypoints and angles are encoded in one of two ways, depending on the class of the head.
  const bool known = layout.task == Task::detect || layout.task == Task::segment || metadata.count("head");
  return !whole && known && (layout.head == Head::boxes || layout.head == Head::end2end) && author != metadata.end() &&
         author->second == "Ultralytics" && model_bytes(*this) <= max_bytes;
}

std::uintmax_t model_bytes(const ModelSpec& spec) {
  std::uintmax_t bytes = 0;
  for (const fs::path& path : {spec.graph, spec.weights}) {
    std::error_code error;
    const std::uintmax_t size = path.empty() ? 0 : fs::file_size(path, error);
    if (!error) bytes += size;
  }
  return bytes;
}

ModelError unknown_imgsz(const ModelSpec& spec) {
  return ModelError("model \"" + spec.path +
                    "\" does not say its input size (no 'imgsz' in its metadata); give imgsz=");
}

ModelSpec read_model(const std::string& model) {
  ModelSpec spec;
  spec.path = model;
  const fs::path path(model);
  std::error_code error;
  if (model.empty() || model.find('\0') != std::string::npos || !fs::exists(path, error)) {
    throw FileNotFound("model \"" + model.substr(0, model.find('\0')) + "\" does not exist");
  }
  const bool folder = fs::is_directory(path);
  const std::string ending = folder ? "" : path.extension().string();
  if (folder && has_file(path, ".param")) {
    spec.format = Format::ncnn;
  } else if (folder && has_file(path, ".xml")) {
    spec.format = Format::openvino;
  } else if (ending == ".param") {
    spec.format = Format::ncnn;
  } else if (ending == ".xml") {
    spec.format = Format::openvino;
  } else if (ending == ".engine" || ending == ".plan") {
    spec.format = Format::tensorrt;
  } else if (ending == ".tflite") {
    spec.format = Format::tflite;
  } else if (ending == ".pt") {
    fail(spec, "PyTorch checkpoints must be exported first: yolort export " + path.string());
  } else if (ending != ".onnx") {
    fail(spec, folder ? "the folder has no .param (NCNN) or .xml (OpenVINO) file"
                      : "unknown model format '" + ending +
                            "'; give an .onnx or .tflite file, a TensorRT .engine, an NCNN folder or .param, or an "
                            "OpenVINO folder or .xml");
  }

  if (spec.format != Format::ncnn && spec.format != Format::openvino) {
    spec.graph = path;
  } else {
    spec.graph = find_graph(spec, path, spec.format == Format::ncnn ? ".param" : ".xml");
    spec.weights = fs::path(spec.graph).replace_extension(".bin");
    if (!fs::exists(spec.weights, error)) fail(spec, "its weights " + spec.weights.string() + " are missing");
    if (!fs::is_regular_file(spec.weights, error))
      fail(spec, "its weights " + spec.weights.string() + " are not a file");
  }
  if (!fs::is_regular_file(spec.graph, error) || fs::file_size(spec.graph, error) == 0 || error)
    fail(spec, "the file is empty or cannot be read");

  read_metadata(spec);
  return spec;
}

ModelSpec read_model(std::string_view contents, const std::string& format) {
  ModelSpec spec;
  spec.path = "in memory";
  spec.contents = contents;
  if (format == "onnx") {
    spec.format = Format::onnx;
  } else if (format == "tensorrt") {
    spec.format = Format::tensorrt;
  } else {
    throw std::invalid_argument("format is \"" + format + "\", expected onnx or tensorrt for a model in memory");
  }
  if (contents.empty()) fail(spec, "it is empty");
  read_metadata(spec);
  return spec;
}

GraphStream open_graph(const ModelSpec& spec) {
  if (!spec.contents.empty()) return {std::make_unique<MemoryStream>(spec.contents), spec.contents.size()};
  auto file = std::make_unique<std::ifstream>(spec.graph, std::ios::binary);
  std::error_code error;
  const std::uintmax_t size = fs::file_size(spec.graph, error);
  if (!*file || error) fail(spec, "cannot be read");
  return {std::move(file), size};
}

std::string read_graph(const ModelSpec& spec) {
  const GraphStream graph = open_graph(spec);
  std::string out(graph.size, '\0');
  if (!graph.stream->read(out.data(), static_cast<std::streamsize>(out.size()))) fail(spec, "cannot be read");
  return out;
}

}  // namespace yolort
