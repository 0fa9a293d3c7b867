// An NCNN model: any graph that the check accepts must load and run. Input: text of the .param, a zero byte, the .bin.
#include "fuzz.h"
#include "yolort/yolort.h"

using namespace yolort;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const fuzz::Folder folder;
  fuzz::Bytes bytes(data, size);
  const std::string model = folder.write("m_ncnn_model/model.ncnn.param", bytes.text()).parent_path().string();
  folder.write("m_ncnn_model/model.ncnn.bin", bytes.rest());
  Options options;
  options.imgsz = {32, 64};
  options.threads = 1;
  options.names = {"one", "two"};
  options.engine = "ncnn";
  static const std::uint8_t pixels[8 * 8 * 3] = {200, 30, 90};
  try {
    Detector(model, options).detect({pixels, 8, 8});
  } catch (const Error&) {
  }
  return 0;
}
