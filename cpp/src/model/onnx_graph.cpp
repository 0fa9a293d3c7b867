// Fields of onnx.proto: ModelProto graph = 7; GraphProto node = 1, initializer = 5; NodeProto input = 1, output = 2,
// op_type = 4, attribute = 5; AttributeProto name = 1, i = 3, t = 5; TensorProto data_type = 2, name = 8.
#include "model/onnx_graph.h"

#include <map>
#include <string>
#include <vector>

#include "model/protobuf.h"

namespace yolort {
namespace {

constexpr std::uint64_t max_name = 1 << 16;  ///< bytes of the name of a tensor
constexpr std::uint64_t int8 = 3;            ///< of TensorProto.DataType

struct Rounding {
  std::vector<std::string> inputs;  ///< what is rounded, its scale, its zero point
  std::uint64_t type = 0;           ///< of the output if there is no zero point to say so; 0: unsigned
};

class Graph {
 public:
  explicit Graph(ProtobufReader& file) : file_(file) {}

  void read(std::uint64_t end) {
    for (ProtobufField field; file_.next(end, field);) {
      if (field.is_bytes && field.number == 1) {
        read_node(field.end);
      } else if (field.is_bytes && field.number == 5) {
        const auto [name, type] = read_tensor(field.end);
        constants_[name] = type;
      } else {
        file_.skip(field);
      }
    }
  }

  bool rounds_activations_to_int8() const {
    for (const Rounding& rounding : roundings_) {
      if (rounding.inputs.empty() || constants_.count(rounding.inputs[0])) continue;
      const bool told = rounding.inputs.size() > 2 && !rounding.inputs[2].empty();
      const auto zero_point = constants_.find(told ? rounding.inputs[2] : "");
      if ((zero_point == constants_.end() ? rounding.type : zero_point->second) == int8) return true;
    }
    return false;
  }

 private:
  std::pair<std::string, std::uint64_t> read_tensor(std::uint64_t end) {
    std::pair<std::string, std::uint64_t> out;
    for (ProtobufField field; file_.next(end, field);) {
      if (field.number == 2 && !field.is_bytes) out.second = field.value;
      if (field.number == 8 && field.is_bytes) out.first = file_.read(field, max_name);
      file_.skip(field);
    }
    return out;
  }

  void read_node(std::uint64_t end) {
    std::string operation, output;
    Rounding rounding;
    std::map<std::string, std::uint64_t> attributes;  ///< their numbers, and the types of their tensors
    for (ProtobufField field; file_.next(end, field);) {
      if (!field.is_bytes) continue;
      switch (field.number) {
        case 1: rounding.inputs.push_back(file_.read(field, max_name)); break;
        case 2: output = file_.read(field, max_name); break;
        case 4: operation = file_.read(field, max_name); break;
        case 5: attributes.insert(read_attribute(field.end)); break;
        default: file_.skip(field);
      }
    }
    if (operation == "Constant") constants_[output] = attributes["value"];
    if (operation == "QuantizeLinear") {
      rounding.type = attributes["output_dtype"];
      roundings_.push_back(std::move(rounding));
    }
  }

  std::pair<std::string, std::uint64_t> read_attribute(std::uint64_t end) {
    std::pair<std::string, std::uint64_t> out;
    for (ProtobufField field; file_.next(end, field);) {
      if (field.number == 1 && field.is_bytes) out.first = file_.read(field, max_name);
      if (field.number == 3 && !field.is_bytes) out.second = field.value;
      if (field.number == 5 && field.is_bytes) out.second = read_tensor(field.end).second;
      file_.skip(field);
    }
    return out;
  }

  ProtobufReader& file_;
  std::map<std::string, std::uint64_t> constants_;  ///< the type of each
  std::vector<Rounding> roundings_;
};

}  // namespace

bool rounds_activations_to_int8(std::istream& onnx, std::uint64_t size) {
  ProtobufReader file(onnx, size);
  Graph graph(file);
  for (ProtobufField field; file.next(size, field);) {
    if (field.number == 7 && field.is_bytes) {
      graph.read(field.end);
    } else {
      file.skip(field);
    }
  }
  return graph.rounds_activations_to_int8();
}

}  // namespace yolort
