// Fields of onnx.proto: ModelProto graph = 7; GraphProto node = 1, initializer = 5, output = 12; NodeProto input = 1,
// output = 2, op_type = 4, attribute = 5; AttributeProto name = 1, i = 3, t = 5; TensorProto data_type = 2, name = 8,
// data_location = 14; ValueInfoProto name = 1.
#include "model/onnx_graph.h"

#include <map>
#include <utility>

#include "model/protobuf.h"
#include "model/value.h"
#include "platform/memory_stream.h"

namespace yolort {
namespace {

constexpr std::uint64_t max_name = 1 << 16;  ///< bytes of the name of a tensor
constexpr std::uint64_t int8 = 3;            ///< of TensorProto.DataType

class Reader {
 public:
  Reader(ProtobufReader& file, Graph& out) : file_(file), out_(out) {}

  void read(std::uint64_t end) {
    for (ProtobufField field; file_.next(end, field);) {
      if (field.is_bytes && field.number == 1) {
        read_node(field.end);
      } else if (field.is_bytes && field.number == 5) {
        auto [name, type] = read_tensor(field.end);
        types_[name] = type;
        out_.nodes.push_back({"Constant", {}, {std::move(name)}});
      } else if (field.is_bytes && field.number == 12) {
        out_.outputs.push_back(read_name(field.end));
      } else {
        file_.skip(field);
      }
    }
  }

  /// Types of zero points may follow the nodes that use them.
  void resolve_types() {
    for (auto& [node, type] : roundings_) {
      const std::vector<std::string>& inputs = out_.nodes[node].inputs;
      const auto zero_point = types_.find(inputs.size() > 2 && !inputs[2].empty() ? inputs[2] : "");
      out_.nodes[node].to_int8 = (zero_point == types_.end() ? type : zero_point->second) == int8;
    }
  }

 private:
  std::string read_name(std::uint64_t end) {
    std::string name;
    for (ProtobufField field; file_.next(end, field);) {
      if (field.number == 1 && field.is_bytes) name = file_.read(field, max_name);
      file_.skip(field);
    }
    return name;
  }

  std::pair<std::string, std::uint64_t> read_tensor(std::uint64_t end) {
    std::pair<std::string, std::uint64_t> out;
    for (ProtobufField field; file_.next(end, field);) {
      if (field.number == 2 && !field.is_bytes) out.second = field.value;
      if (field.number == 14 && !field.is_bytes && field.value == 1) out_.external = true;
      if (field.number == 8 && field.is_bytes) out.first = file_.read(field, max_name);
      file_.skip(field);
    }
    return out;
  }

  void read_node(std::uint64_t end) {
    GraphNode node;
    std::map<std::string, std::uint64_t> attributes;  ///< integer values, or the types of tensors
    for (ProtobufField field; file_.next(end, field);) {
      if (!field.is_bytes) continue;
      switch (field.number) {
        case 1: node.inputs.push_back(file_.read(field, max_name)); break;
        case 2: node.outputs.push_back(file_.read(field, max_name)); break;
        case 4: node.type = file_.read(field, max_name); break;
        case 5: attributes.insert(read_attribute(field.end)); break;
        default: file_.skip(field);
      }
    }
    if (node.type == "Constant" && !node.outputs.empty()) types_[node.outputs[0]] = attributes["value"];
    if (node.type == "QuantizeLinear") roundings_.emplace_back(out_.nodes.size(), attributes["output_dtype"]);
    out_.nodes.push_back(std::move(node));
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
  Graph& out_;
  std::map<std::string, std::uint64_t> types_;                    ///< of each constant
  std::vector<std::pair<std::size_t, std::uint64_t>> roundings_;  ///< index of a node, and the type that it declares
};

std::string varint(std::uint64_t value) {
  std::string out;
  for (; value > 0x7F; value >>= 7) out += static_cast<char>(0x80 | (value & 0x7F));
  return out + static_cast<char>(value);
}

std::string message(int field, const std::string& content) {
  return varint(static_cast<std::uint64_t>(field) << 3 | 2) + varint(content.size()) + content;
}

}  // namespace

Graph read_onnx_graph(std::istream& onnx, std::uint64_t size) {
  Graph out;
  ProtobufReader file(onnx, size);
  Reader reader(file, out);
  for (ProtobufField field; file.next(size, field);) {
    if (field.number == 7 && field.is_bytes) {
      reader.read(field.end);
    } else {
      file.skip(field);
    }
  }
  reader.resolve_types();
  return out;
}

std::string with_outputs(const std::string& onnx, const std::vector<std::string>& outputs) {
  MemoryStream stream(onnx);
  ProtobufReader file(stream, onnx.size());
  std::string graph, out;
  out.reserve(onnx.size());
  std::uint64_t start = 0;  // of the field
  for (ProtobufField field; file.next(onnx.size(), field); start = file.position()) {
    if (field.number != 7 || !field.is_bytes) {
      file.skip(field);
      out.append(onnx, start, file.position() - start);
      continue;
    }
    std::uint64_t inner = file.position();
    for (ProtobufField part; file.next(field.end, part); inner = file.position()) {
      file.skip(part);
      if (part.number != 12) graph.append(onnx, inner, file.position() - inner);
    }
  }
  for (const std::string& output : outputs) graph += message(12, message(1, output));
  return out + message(7, graph);
}

}  // namespace yolort
