#include "engines/ncnn/graph_check.h"

#include <unistd.h>

#include <fstream>
#include <string>
#include <vector>

#include "check.h"
#include "yolort/yolort.h"

using namespace yolort;

namespace {

const std::filesystem::path folder =
    std::filesystem::temp_directory_path() / ("yolort_test_ncnn_check_" + std::to_string(getpid()));
const std::filesystem::path param = folder / "model.param", bin = folder / "model.bin";

void write(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

/// Weights of one convolution after their type tag (little-endian), then 8 biases in fp32.
std::string weights(unsigned tag, std::size_t bytes) {
  std::string out;
  for (const int shift : {0, 8, 16, 24}) out += static_cast<char>(tag >> shift & 0xFF);
  return out + std::string(bytes + 32, '\0');
}

void check_text(const std::string& text, const std::string& bin_bytes = std::string(1 << 16, '\0')) {
  write(param, text);
  write(bin, bin_bytes);
  check_ncnn_graph(param, bin, {3, 32, 48});
}

/// A network with an input of 3 x 32 x 48 named "in", then `lines`.
void check_lines(const std::vector<std::string>& lines, int blobs,
                 const std::string& bin_bytes = std::string(1 << 16, '\0')) {
  std::string text =
      "7767517\n" + std::to_string(lines.size() + 1) + " " + std::to_string(blobs) + "\nInput in 0 1 in\n";
  for (const std::string& line : lines) text += line + "\n";
  check_text(text, bin_bytes);
}

const std::string conv = "Convolution conv 1 1 in a 0=8 1=3 3=2 4=1 5=1 6=216";  // to 8 x 16 x 24

void test_what_fits() {
  check_lines(
      {conv, "Swish act 1 1 a b", "Split split 1 3 b c d e", "ConvolutionDepthWise dw 1 1 c f 0=8 1=3 4=1 6=72 7=8 8=0",
       "Concat cat 2 1 d f g 0=0",                      // 16 x 16 x 24
       "Slice slice 1 2 g h i -23300=2,-233,-233 1=0",  // 8 and 8
       "BinaryOp add 2 1 h i j 0=0", "Pooling pool 1 1 j k 0=0 1=5 2=1 3=2 5=1",
       "Interp up 1 1 k l 0=1 1=2.0 2=2.0",  // 8 x 32 x 48
       "Reshape flat 1 1 l m 0=1536 1=8",
       "Permute turn 1 1 m n 0=1",  // 1536 x 8
       "Softmax soft 1 1 n o 0=1 1=1", "BinaryOp scale 1 1 o p 0=2 1=1 2=0.5", "MemoryData data 0 1 q 0=5 1=8",
       "MatMul mul 2 1 p q r",  // 1536 x 5
       "Reshape open 1 1 e s 0=-1 1=8", "Sigmoid out 1 1 s t", "Noop sink 1 0 t"},
      21);
  check_lines({"Slice s 1 2 in a b 0=1,2", "Interp i 1 1 a c 0=1 3=7 4=9", "Interp j 1 1 b d 0=2 1=1.5 2=2 6=1",
               "Concat c 1 1 d e 0=-3", "Clip f 1 1 e g 0=-1.5e0 1=6", "UnaryOp h 1 1 g h 0=7"},
              8);
  // Layers of YOLO12 (four dimensions), YOLOv3-tiny, YOLOv10 and classifiers.
  check_lines({"Reshape r 1 1 in a 0=48 1=2 11=16 2=3", "Permute p 1 1 a b 0=3",                   // 3 x 2 x 48 x 16
               "Split s 1 2 b c d", "MatMul m 2 1 c d k 0=1", "BinaryOp u 1 1 k e 0=2 1=1 2=0.5",  // 3 x 2 x 48 x 48
               "Softmax o 1 1 e f 0=3 1=1", "Slice l 1 2 f g h -23300=2,1,1 1=1",                  // 3 x 1 x 48 x 48
               "Reshape q 1 1 g i 0=2304 1=3", "Sigmoid t 1 1 h j"},
              12);
  check_lines({"Padding p 1 1 in a 0=0 1=1 2=0 3=1 4=0 5=0.0", "Pooling q 1 1 a b 0=0 1=2 2=1 5=1",  // 3 x 32 x 48
               "Reduction r 1 1 b c 0=4 1=0 -23303=1,0 4=0 5=1", "Reshape s 1 1 c d 0=48 1=32"},
              5);
  check_lines({"Pooling p 1 1 in a 0=1 4=1", "InnerProduct i 1 1 a b 0=5 1=1 2=15", "Softmax s 1 1 b c 0=0 1=1"}, 4);
  check_lines({"Flatten f 1 1 in a", "InnerProduct i 1 1 a b 0=1 2=4608"}, 3);
  check_text("7767517\r\n2 2\r\n\r\nInput in 0 1 in 0=48 1=32 2=3\r\nSwish\ts 1 1 in a\r\n");
  // The types of ncnn's ModelBin for 216 weights: fp32 (two tags), fp16, bf16, and a table of 256 with a byte each.
  check_lines({conv}, 2, weights(0, 4 * 216));
  check_lines({conv}, 2, weights(0x0002C056, 4 * 216));
  check_lines({conv}, 2, weights(0x01306B47, 2 * 216));
  check_lines({conv}, 2, weights(0x01348B83, 2 * 216));
  check_lines({conv}, 2, weights(1, 1024 + 216));
}

std::string int8_weights(std::size_t scales) { return weights(0x000D4B38, 216) + std::string(4 * scales, '\0'); }

void test_int8() {
  const std::string alone = conv + " 8=2", on = conv + " 8=102";
  check_lines({alone}, 2, int8_weights(9));  // 8 output scales, and the input's
  check_lines({on, "Convolution d 1 1 a b 0=1 1=1 6=8 8=2"}, 3,
              int8_weights(10) + weights(0x000D4B38, 8) + std::string(8, '\0'));
  CHECK_THROWS(check_lines({alone}, 2, int8_weights(8)), ModelError, "more weights than the .bin contains");
  CHECK_THROWS(check_lines({on}, 2, int8_weights(9)), ModelError, "more weights than the .bin contains");
  CHECK_THROWS(check_lines({alone}, 2), ModelError, "no INT8 weights");
  // Other layers would interpret its bytes as fp32.
  CHECK_THROWS(check_lines({on, "Swish s 1 1 a b"}, 3, int8_weights(10)), ModelError, "INT8 blob");
  CHECK_THROWS(check_lines({on, "Split s 1 2 a b c"}, 4, int8_weights(10)), ModelError, "INT8 blob");
  CHECK_THROWS(check_lines({on, "Slice s 1 2 a b c -23300=2,4,4"}, 4, int8_weights(10)), ModelError, "INT8 blob");
  CHECK_THROWS(check_lines({on, "Convolution d 1 1 a b 0=1 1=1 6=8"}, 3, int8_weights(10) + weights(0, 32)), ModelError,
               "INT8 blob");
}

void refused(const std::vector<std::string>& lines, const char* why) {
  CHECK_THROWS(check_lines(lines, static_cast<int>(lines.size()) + 1), ModelError, why);
}

const std::string quantized = "Int8Quantize q 1 1 in a 1=255.0 5=0";                                  // 4 channels
const std::string on_map = "Int8Convolution c 1 1 a b 0=8 1=3 3=2 5=9 6=288 7=0 8=1 -23310=3,0,4,0";  // 8 x 16 x 24

/// INT8 values, then numbers of four bytes.
std::string int8_bin(std::size_t values, std::size_t numbers) {
  return weights(0x000D4B38, values).substr(0, 4 + values) + std::string(4 * numbers, '\0');
}

void test_int8_maps() {
  const std::string bin_bytes = int8_bin(288, 2 * 8 + 64) + int8_bin(72, 2 * 8) + int8_bin(2 * 20, 2 * 2);
  check_lines({quantized, on_map, "Split s 1 3 b c d e", "Int8Depthwise w 1 1 c f 0=8 1=3 5=1 6=72 -23310=3,0,8,0",
               "Int8MaxPool p 1 1 d g 1=5 5=3 -23310=3,4,4,0", "Split t 1 2 f h i",
               "Int8Add x 2 1 e h j 1=0.5 2=0.25 3=1.0 5=4 -23310=6,0,8,0,0,8,0",
               "Int8Convolution o 3 1 i j g k 0=2 1=1 6=40 7=1 -23310=9,0,8,0,0,8,0,0,4,0", "Sigmoid y 1 1 k l"},
              13, bin_bytes);
  check_lines({quantized, "Int8Dequantize d 1 1 a b 1=0.5 5=0 -23310=3,0,4,0", "Swish s 1 1 b c"}, 4);
  check_lines({quantized, "Int8Convolution c 1 1 a b 0=4 1=1 6=16 -23310=3,0,4,1",
               "Int8Dequantize d 1 1 b c 1=0.5 -23310=3,0,4,0", "Reshape r 1 1 c d 0=96 1=64 2=4"},
              5, int8_bin(16, 8));
  const auto refused_map = [&](const std::vector<std::string>& lines, const char* why) {
    std::vector<std::string> all = {quantized};
    all.insert(all.end(), lines.begin(), lines.end());
    CHECK_THROWS(check_lines(all, static_cast<int>(all.size()) + 1, int8_bin(288, 80)), ModelError, why);
  };
  refused_map({}, "is an INT8 map");
  refused_map({on_map}, "is an INT8 map");
  refused_map({"Swish s 1 1 a b"}, "takes the INT8 blob");
  refused_map({"Split s 1 1 a b"}, "fewer than 8 channels");
  refused_map({"Slice s 1 1 a b -23300=1,4 1=0"}, "takes the INT8 blob");
  CHECK_THROWS(check_lines({quantized, on_map, "Convolution d 1 1 b c 0=1 1=1 6=8"}, 4, int8_bin(288, 100)), ModelError,
               "takes the INT8 blob");
  const std::string convolution = "Int8Convolution c 1 1 a b ";
  refused_map({convolution + "0=8 1=3 6=288"}, "three whole numbers");
  refused_map({convolution + "0=8 1=3 6=288 -23310=3,0,8,0"}, "range of channels");
  refused_map({convolution + "0=8 1=3 6=288 -23310=3,4,4,0"}, "range of channels");
  refused_map({convolution + "0=8 1=3 6=288 -23310=3,-4,8,0"}, "range of channels");
  refused_map({convolution + "0=8 1=3 6=288 -23310=3,0,3,0"}, "range of channels");
  refused_map({convolution + "0=8 1=3 6=288 -23310=3,0,4,1"}, "do not match");
  refused_map({convolution + "0=8 1=2 6=128 -23310=3,0,4,0"}, "do not match");
  refused_map({convolution + "0=8 1=3 6=280 -23310=3,0,4,0"}, "weights do not fit");
  refused_map({convolution + "0=6 1=3 6=216 -23310=3,0,4,0"}, "multiple of 4");
  refused_map({convolution + "0=8 1=3 6=288 7=1 8=1 -23310=3,0,4,0"}, "plain floats");
  refused_map({convolution + "0=8 1=3 5=256 6=288 -23310=3,0,4,0"}, "parameter 5");
  refused_map({convolution + "0=16 1=3 6=576 -23310=3,0,4,0"}, "more weights than the .bin contains");
  refused_map({on_map, "Int8Depthwise w 1 1 b c 0=8 1=3 6=72 -23310=3,0,4,0"}, "weights do not fit");
  refused_map({on_map, "Int8MaxPool p 1 1 b c 1=4 -23310=3,0,8,0"}, "kernel is not supported");
  refused({"Int8MaxPool p 1 1 in a 1=5 -23310=3,0,4,0"}, "range of channels");
  refused({"Int8Quantize q 1 1 in a 1=1.0 5=999"}, "parameter 5");
  refused({"Int8Quantize q 1 1 in a 5=0"}, "has no parameter 1");
  refused({"Int8Quantize q 1 1 in a 1=0.0 5=0"}, "parameter 1 is out of range");
  refused_map({"Int8Dequantize d 1 1 a b 1=-1.0 5=0 -23310=3,0,4,0"}, "parameter 1 is out of range");
  CHECK_THROWS(
      check_lines({quantized, on_map, "Split s 1 2 b c d", "Int8Quantize q 1 1 c e 1=1.0"}, 6, int8_bin(288, 80)),
      ModelError, "takes the INT8 blob");
  CHECK_THROWS(check_lines({quantized, on_map, "Split s 1 2 b c d",
                            "Int8Add x 2 1 c d e 1=1e30 2=0.25 3=1.0 -23310=6,0,8,0,0,8,0"},
                           6, int8_bin(288, 80)),
               ModelError, "parameter 1 is out of range");
}

void test_convolutions_that_are_refused() {
  refused({"Convolution c 1 1 in a 0=8 1=3 6=100"}, "weights, which do not fit");
  refused({"Convolution c 1 1 in a 0=8 1=3 12=20 6=216"}, "larger than its input map");
  refused({"Deconvolution c 1 1 in a 0=8 1=2 3=2 6=100"}, "weights, which do not fit");
  refused({"Deconvolution c 1 1 in a 0=8 1=2 3=2 4=1 6=96"}, "parameter 4 is out of range");
  refused({"Deconvolution c 1 1 in a 0=8 1=2 3=2 6=96", "Reshape r 1 1 a b 0=96 1=64 2=7"}, "does not hold the 49152");
  refused({"Convolution c 1 1 in a 0=8 1=3 3=1000000 6=216"}, "parameter 3 is out of range");
  refused({"Convolution c 1 1 in a 0=8 1=3 4=2147483647 6=216"}, "parameter 4 is out of range");
  refused({"Convolution c 1 1 in a 0=-8 1=3 6=216"}, "parameter 0 is out of range");
  refused({"Convolution c 1 1 in a 0=8 1=3 6=216 19=1"}, "parameter 19 is not supported");
  refused({"Convolution c 1 1 in a 0=8 6=24"}, "parameter 1 is out of range");
  refused({"Convolution c 1 1 in a 0=8 1=3"}, "parameter 6 is out of range");
  for (const char* scales : {"3", "100", "103", "-1"}) {
    refused({"Convolution c 1 1 in a 0=8 1=3 6=216 8=" + std::string(scales)}, "parameter 8 is");
  }
  refused({"Convolution c 1 1 in a 0=8 1=3 6=216 31=4"}, "parameter 31 is not supported");
  refused({"Convolution c 1 1 in a 0=8 1=3 6=216 -23330=4,3,9,9,8"}, "parameter 30 is not supported");
  refused({"ConvolutionDepthWise c 1 1 in a 0=8 1=3 6=72 7=2"}, "groups");
  refused({"ConvolutionDepthWise c 1 1 in a 0=6 1=3 6=54 7=3"}, "groups");
  refused({"ConvolutionDepthWise c 1 1 in a 0=3 1=5 6=75 7=3"}, "3 x 3 kernel");
  // A kernel size with which ncnn corrupts memory at a later Concat.
  refused({"Split s 1 2 in a b", "Convolution c 1 1 b c 0=8 1=3 4=1 12=10 6=216", "Concat d 2 1 a c d"}, "differ in");
}

void test_layers_that_are_refused() {
  // ncnn uses the default if a number has another type than expected.
  refused({"Permute p 1 1 in a 0=2.0"}, "parameter 0");
  refused({"Permute p 1 1 in a 0=2e0"}, "parameter 0");
  refused({"Permute p 1 1 in a 0=2,"}, "parameter 0");
  refused({"Permute p 1 1 in a -23300=1,2"}, "parameter 0");
  refused({"Slice s 1 1 in a 0=3"}, "a size for each");
  refused({"Slice s 1 2 in a b 0=1.0,2.0"}, "a size for each");
  refused({"Slice s 1 2 in a b -23300=2,1.0,2"}, "is not a parameter");
  refused({"Interp i 1 1 in a 1=2.0 2=2.0"}, "parameter 0");
  refused({"Interp i 1 1 in a 0=1 1=1.3 2=2.0"}, "multiple of 1/16");
  refused({"Interp i 1 1 in a 0=1 3=20"}, "one of height and width");
  refused({"Pooling p 1 1 in a 0=0 5=1"}, "parameter 1");
  refused({"Pooling p 1 1 in a 0=0 1=2"}, "padding mode");
  refused({"BinaryOp b 1 1 in a 0=0"}, "takes two inputs");
  refused({"BinaryOp b 1 1 in a 0=99 1=1"}, "parameter 0");
  refused({"MatMul m 1 1 in a"}, "1 inputs");
  refused({"MemoryData m 1 1 in a 0=4"}, "1 inputs");
  refused({"MemoryData m 0 1 a 0=100000 1=100000 2=1000"}, "2^28");
  refused({"MemoryData m 0 1 a"}, "an empty blob");
  refused({"Reshape r 1 1 in a 0=7 1=8"}, "4608 elements");
  refused({"Reshape r 1 1 in a 0=-1 1=-1"}, "two open sides");
  refused({"Reshape r 1 1 in a 2=3"}, "gap");
  refused({"Permute p 1 1 in a 0=6"}, "parameter 0");
  refused({"Slice s 1 1 in a -23300=1,4 1=0"}, "sizes do not fit");
  refused({"Slice s 1 1 in a -23300=2,1,1 1=0"}, "a size for each");
  refused({"Slice s 1 1 in a -23300=1,1 1=7"}, "parameter 1");
  refused({"Interp i 1 1 in a 0=1 1=1e9 2=1"}, "scale");
  refused({"Interp i 1 1 in a 0=1 3=16000 4=16000"}, "2^28");
  refused({"Pooling p 1 1 in a 0=0 1=99 5=1"}, "larger than its input map");
  refused({"Concat c 1 1 in a 0=-9"}, "parameter 0");
  refused({"Reshape r 1 1 in a 0=48 1=32 11=3"}, "gap");
  refused({"Reshape r 1 1 in a 0=48 1=2 11=16 2=3", "Permute p 1 1 a b 0=24"}, "parameter 0");
  refused({"Reshape r 1 1 in a 0=48 1=2 11=16 2=3", "Concat c 1 1 a b 0=0"}, "at most 3 dimensions");
  refused({"Reshape r 1 1 in a 0=48 1=2 11=16 2=3", "Split s 1 2 a b c", "BinaryOp d 2 1 b c e 0=0"}, "at most 3");
  refused({"Padding p 1 1 in a 0=-1"}, "parameter 0");
  refused({"Padding p 1 1 in a 0=1 6=3"}, "parameter 6");
  refused({"Reduction r 1 1 in a 0=4 1=0 -23303=1,3"}, "axis out of range");
  refused({"Reduction r 1 1 in a 0=11"}, "parameter 0");
  refused({"InnerProduct i 1 1 in a 0=5 2=15"}, "blob of 1 dimensions");
  refused({"Flatten f 1 1 in a", "InnerProduct i 1 1 a b 0=5 2=15"}, "which do not fit the 4608");
}

void test_blobs_that_are_refused() {
  refused({"Input i 0 1 a"}, "has 2 inputs");
  refused({"Noop n 1 2 in a b"}, "2 outputs");
  refused({"Swish s 1 1 nothing a"}, "no earlier layer produces");
  refused({"Swish s 1 1 in a", "Swish t 1 1 in b"}, "another layer consumes");
  refused({"BinaryOp b 2 1 in in a"}, "another layer consumes");
  refused({"Swish s 1 1 in in"}, "again");
  CHECK_THROWS(
      check_lines({"Split s 1 2 in a b", conv.substr(0, 22) + "a c" + conv.substr(26), "Concat c 2 1 b c d"}, 5),
      ModelError, "");
}

void test_lines_that_are_refused() {
  refused({"LSTM l 1 1 in a"}, "not a supported layer");
  refused({"Swish s 1 1 in"}, "ends before");
  refused({"Swish s -1 1 in a"}, "not a line");
  refused({"Swish s 999999999 1 in a"}, "ends before");
  refused({"Swish s"}, "not a line");
  refused({"ReLU r 1 1 in a 0=abc"}, "is not a parameter");
  refused({"ReLU r 1 1 in a 0"}, "is not a parameter");
  refused({"ReLU r 1 1 in a 0=nan"}, "is not a parameter");
  refused({"ReLU r 1 1 in a 0=99999999999"}, "is not a parameter");
  refused({"ReLU r 1 1 in a 0=0x10"}, "is not a parameter");
  refused({"ReLU r 1 1 in a 0="}, "is not a parameter");
  refused({"ReLU r 1 1 in a 0=,"}, "is not a parameter");
  refused({"ReLU r 1 1 in a 0=1 0=2"}, "twice");
  refused({"ReLU r 1 1 in a 99=1"}, "0 to 31");
  refused({"Slice s 1 1 in a -23300=5,1 1=0"}, "declared length");
}

void test_weights_that_are_refused() {
  for (const unsigned tag : {0u, 0x01306B47u, 1u}) {
    const std::size_t bytes = tag == 0 ? 4 * 216 : tag == 1 ? 1024 + 216 : 2 * 216;
    CHECK_THROWS(check_lines({conv}, 2, weights(tag, bytes - 1)), ModelError, "more weights than the .bin contains");
  }
  CHECK_THROWS(check_lines({conv}, 2, ""), ModelError, "more weights than the .bin contains");
  // ncnn treats INT8 weights as having scales, and reads the scales out of bounds.
  CHECK_THROWS(check_lines({conv}, 2, weights(0x000D4B38, 4 * 216)), ModelError, "INT8 weights without scales");
}

void test_text_that_is_no_param() {
  for (const std::string text :
       {"", "garbage", "7767517\n", "7767516\n1 1\nInput in 0 1 in\n", "7767517\n0 0\n",
        "7767517\n99999999999 1\nInput in 0 1 in\n", "7767517\n2 1\nInput in 0 1 in\n",
        "7767517\n1 2\nInput in 0 1 in\n", "7767517\n-1 -1\nInput in 0 1 in\n", "7767517 2 2\nInput in 0 1 in\n",
        "7767517\n1 1 MemoryData m 0 1 m\nInput in 0 1 in\n"}) {
    CHECK_THROWS(check_text(text), ModelError, "damaged");
  }
  for (const char byte : {'\0', '\r', '\f', '\x7f', '\xff'}) {
    CHECK_THROWS(check_lines({std::string("Swish s 1 1 in a") + byte + "b"}, 2), ModelError, "printable ASCII");
  }
  CHECK_THROWS(check_lines({"Swish s 1 1 in " + std::string(256, 'a')}, 2), ModelError, "not a line");
  CHECK_THROWS(check_text(std::string(2 << 20, ' ')), ModelError, "1 MiB");
  CHECK_THROWS(check_ncnn_graph(folder, bin, {3, 32, 48}), ModelError, "cannot be read");
  std::vector<std::string> chain = {"Swish s 1 1 in b0"};  // ncnn recurses through it
  for (int i = 0; i < 3000; ++i) chain.push_back("Swish s 1 1 b" + std::to_string(i) + " b" + std::to_string(i + 1));
  CHECK_THROWS(check_lines(chain, 3002), ModelError, "3002 layers");
}

}  // namespace

int main() {
  std::filesystem::create_directories(folder);
  test_what_fits();
  test_int8();
  test_int8_maps();
  test_convolutions_that_are_refused();
  test_layers_that_are_refused();
  test_blobs_that_are_refused();
  test_lines_that_are_refused();
  test_weights_that_are_refused();
  test_text_that_is_no_param();
  std::filesystem::remove_all(folder);
  return check::result();
}
