// Model metadata: ONNX files, OpenVINO IR, .tflite files, metadata.yaml, engine headers, records of `yolort tune`.
#include "core/tuning.h"
#include "engines/openvino/ir_graph.h"
#include "fuzz.h"
#include "model/literal.h"
#include "model/model.h"
#include "model/onnx_graph.h"
#include "model/yaml.h"
#include "yolort/yolort.h"

using namespace yolort;

namespace {

void find_maps_of_all(const Graph& graph) {
  for (const Task task : {Task::detect, Task::segment, Task::pose, Task::obb}) find_raw_maps(graph, task);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const fuzz::Folder folder;
  static const std::string onnx = folder.write("tuned.onnx", std::string_view("\x3A\x01g", 3)).string();
  fuzz::Bytes bytes(data, size);
  try {
    switch (bytes.within(0, 7)) {
      case 0: parse_literal(bytes.rest()); break;
      case 1: parse_yaml(bytes.rest()); break;
      case 2: {
        const ModelSpec spec = read_model(folder.write("model.onnx", bytes.rest()).string());
        const GraphStream file = open_graph(spec);
        find_maps_of_all(read_onnx_graph(*file.stream, file.size));
        with_outputs(read_graph(spec), {"map"});
        break;
      }
      case 3: read_model(folder.write("model.engine", bytes.rest()).string()); break;
      case 4: {
        folder.write("model_ncnn_model/model.ncnn.param", "7767517\n0 0\n");
        folder.write("model_ncnn_model/model.ncnn.bin", "");
        read_model(folder.write("model_ncnn_model/metadata.yaml", bytes.rest()).parent_path().string());
        break;
      }
      case 5: {
        folder.write("tuned.tuned.json", bytes.rest());
        find_tuning(read_model(onnx));
        break;
      }
      case 7: read_model(folder.write("model.tflite", bytes.rest()).string()); break;
      case 6: {
        const std::string xml(bytes.rest());
        find_maps_of_all(openvino::read_ir_graph(xml));
        openvino::ir_with_outputs(xml, {"1:0", "map"});
        break;
      }
    }
  } catch (const ParseError&) {
  } catch (const Error&) {
  }
  return 0;
}
