#include "platform/zlib.h"

#include <utility>

#include "platform/dynamic_library.h"
#include "yolort/yolort.h"

namespace yolort {
namespace {

/// Our own declaration of zlib 1's z_stream.
struct Stream {
  const unsigned char* next_in = nullptr;
  unsigned available_in = 0;
  unsigned long total_in = 0;
  unsigned char* next_out = nullptr;
  unsigned available_out = 0;
  unsigned long total_out = 0;
  const char* message = nullptr;
  void *state = nullptr, *allocate = nullptr, *release = nullptr, *opaque = nullptr;
  int data_type = 0;
  unsigned long checksum = 0, reserved = 0;
};

struct Zlib {
  int (*start)(Stream*, int window_bits, const char* version, int stream_size) = nullptr;
  int (*inflate)(Stream*, int flush) = nullptr;
  int (*end)(Stream*) = nullptr;
};

const Zlib& zlib() {
  static const Zlib instance = [] {
    Zlib out;
    if (void* library = open_library("libz.so.1")) {
      out.start = reinterpret_cast<decltype(out.start)>(find_function(library, "inflateInit2_"));
      out.inflate = reinterpret_cast<decltype(out.inflate)>(find_function(library, "inflate"));
      out.end = reinterpret_cast<decltype(out.end)>(find_function(library, "inflateEnd"));
    }
    return out;
  }();
  if (!instance.start || !instance.inflate || !instance.end) throw EngineError("libz.so.1 was not found; install zlib");
  return instance;
}

}  // namespace

std::optional<std::string> inflate_raw(const std::string& deflated, std::size_t size) {
  constexpr int raw = -15, finish = 4, stream_end = 1;
  std::string out(size, '\0');
  Stream stream;
  if (zlib().start(&stream, raw, "1", sizeof stream) != 0) return std::nullopt;
  stream.next_in = reinterpret_cast<const unsigned char*>(deflated.data());
  stream.available_in = static_cast<unsigned>(deflated.size());
  stream.next_out = reinterpret_cast<unsigned char*>(out.data());
  stream.available_out = static_cast<unsigned>(out.size());
  const bool whole = zlib().inflate(&stream, finish) == stream_end && stream.available_out == 0;
  zlib().end(&stream);
  return whole ? std::optional(std::move(out)) : std::nullopt;
}

}  // namespace yolort
