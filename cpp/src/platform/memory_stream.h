// Bytes in memory as a stream to read from.
#pragma once

#include <istream>
#include <streambuf>
#include <string_view>

namespace yolort {

/// Borrows the bytes.
class MemoryStream : public std::istream {
 public:
  explicit MemoryStream(std::string_view bytes) : std::istream(nullptr), buffer_(bytes) { rdbuf(&buffer_); }

 private:
  class Buffer : public std::streambuf {
   public:
    explicit Buffer(std::string_view bytes) {
      char* start = const_cast<char*>(bytes.data());  // the const_cast is safe: a get area is never written
      setg(start, start, start + bytes.size());
    }

   protected:
    pos_type seekoff(off_type offset, std::ios::seekdir from, std::ios::openmode) override {
      const char* base = from == std::ios::beg ? eback() : from == std::ios::cur ? gptr() : egptr();
      const off_type position = base - eback() + offset;
      if (position < 0 || position > egptr() - eback()) return pos_type(off_type(-1));
      setg(eback(), eback() + position, egptr());
      return position;
    }
    pos_type seekpos(pos_type position, std::ios::openmode mode) override {
      return seekoff(off_type(position), std::ios::beg, mode);
    }
  };

  Buffer buffer_;
};

}  // namespace yolort
