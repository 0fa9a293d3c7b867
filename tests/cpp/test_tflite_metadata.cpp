#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "check.h"
#include "model/model.h"
#include "platform/dynamic_library.h"
#include "platform/zlib.h"

using namespace yolort;
namespace fs = std::filesystem;

namespace {

const fs::path file = fs::temp_directory_path() / ("yolort_test_" + std::to_string(getpid()) + ".tflite");

std::string little(std::uint64_t value, int size) {
  std::string out;
  for (int i = 0; i < size; ++i, value >>= 8) out += static_cast<char>(value);
  return out;
}

const std::string text =
    R"({"author": "Ultralytics", "task": "detect", "imgsz": [320, 256], "names": {"0": "cat", "1": "dog"}})";
/// `text`, deflated by Python's zlib.
const unsigned char packed_text[] = {
    0xab, 0x56, 0x4a, 0x2c, 0x2d, 0xc9, 0xc8, 0x2f, 0x52, 0xb2, 0x52, 0x50, 0x0a, 0xcd, 0x29, 0x29, 0x4a,
    0xcc, 0xa9, 0x2c, 0xc9, 0x4c, 0x2e, 0x56, 0xd2, 0x51, 0x50, 0x2a, 0x49, 0x2c, 0xce, 0x06, 0x09, 0xa7,
    0xa4, 0x96, 0xa4, 0x26, 0x97, 0x80, 0x44, 0x32, 0x73, 0xd3, 0x8b, 0xab, 0x80, 0x42, 0xd1, 0xc6, 0x46,
    0x06, 0x3a, 0x0a, 0x46, 0xa6, 0x66, 0xb1, 0x40, 0xc1, 0xbc, 0xc4, 0xdc, 0xd4, 0x62, 0xa0, 0x60, 0xb5,
    0x92, 0x01, 0x48, 0x75, 0x72, 0x22, 0x58, 0xa9, 0x21, 0x58, 0x67, 0x7e, 0xba, 0x52, 0x6d, 0x2d, 0x00};
const std::string packed(reinterpret_cast<const char*>(packed_text), sizeof packed_text);

/// A model followed by an archive with one file.
std::string with_archive(const std::string& bytes, int method, std::uint64_t size, const std::string& name) {
  const std::string model = "TFL3 of the model";
  const std::string local = "PK\x03\x04" + little(20, 2) + little(0, 2) +
                            little(static_cast<std::uint64_t>(method), 2) + little(0, 8) + little(bytes.size(), 4) +
                            little(size, 4) + little(name.size(), 2) + little(3, 2) + name + "xyz" + bytes;
  const std::string central = "PK\x01\x02" + little(20, 4) + little(0, 2) +
                              little(static_cast<std::uint64_t>(method), 2) + little(0, 8) + little(bytes.size(), 4) +
                              little(size, 4) + little(name.size(), 2) + little(0, 12) + little(model.size(), 4) + name;
  return model + local + central + "PK\x05\x06" + little(0, 4) + little(1, 2) + little(1, 2) +
         little(central.size(), 4) + little(model.size() + local.size(), 4) + little(0, 2);
}

ModelSpec read(const std::string& bytes) {
  std::ofstream(file, std::ios::binary) << bytes;
  return read_model(file.string());
}

void test_metadata() {
  for (const std::string& bytes :
       {with_archive(packed, 8, text.size(), "metadata.json"), with_archive(text, 0, text.size(), "metadata.json")}) {
    const ModelSpec spec = read(bytes);
    CHECK(spec.format == Format::tflite && spec.height == 320 && spec.width == 256);
    CHECK((spec.names == std::vector<std::string>{"cat", "dog"}));
    CHECK(spec.layout.head == Head::boxes && spec.layout.normalized);
  }
  CHECK(read("TFL3 without an archive, as others write it").names.empty());
  CHECK(read(with_archive(text, 0, text.size(), "labels.txt")).names.empty());
}

void test_damaged_archives() {
  const std::string whole = with_archive(packed, 8, text.size(), "metadata.json");
  for (std::size_t at = 17; at < whole.size(); ++at) {
    std::string bytes = whole;
    bytes[at] = static_cast<char>(bytes[at] ^ 0x5A);
    try {
      read(bytes);
    } catch (const Error&) {
    }
  }
  CHECK_THROWS(read(with_archive(packed, 8, text.size() + 1, "metadata.json")), ModelError, "damaged");
  CHECK_THROWS(read(with_archive(packed, 8, 1u << 30, "metadata.json")), ModelError, "larger than 8 MiB");
  CHECK_THROWS(read(with_archive(packed, 12, text.size(), "metadata.json")), ModelError, "unknown format");
  CHECK_THROWS(read(with_archive("[1]", 0, 3, "metadata.json")), ModelError, "not a JSON object");
}

void test_inflate() {
  CHECK(inflate_raw(packed, text.size()) == text);
  CHECK(!inflate_raw(packed, text.size() - 1) && !inflate_raw(packed.substr(1), text.size()) && !inflate_raw("", 1));
}

}  // namespace

int main() {
  if (open_library("libz.so.1")) {
    test_metadata();
    test_damaged_archives();
    test_inflate();
  } else {
    std::printf("without zlib\n");
    CHECK_THROWS(inflate_raw(packed, text.size()), EngineError, "install zlib");
  }
  fs::remove(file);
  return check::result();
}
