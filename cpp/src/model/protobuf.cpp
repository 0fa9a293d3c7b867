#include "model/protobuf.h"

#include "model/value.h"

namespace yolort {

std::uint64_t ProtobufReader::varint(std::uint64_t end) {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    const int byte = at_ < end ? in_.get() : std::char_traits<char>::eof();
    if (byte == std::char_traits<char>::eof()) throw ParseError("truncated");
    ++at_;
    value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
    if (!(byte & 0x80)) return value;
  }
  throw ParseError("a number is too long");
}

void ProtobufReader::seek(std::uint64_t position, std::uint64_t end) {
  if (position < at_ || position > end) throw ParseError("truncated");
  if (position != at_) in_.seekg(static_cast<std::streamoff>(position));
  at_ = position;
}

bool ProtobufReader::next(std::uint64_t end, ProtobufField& field) {
  if (at_ >= end) return false;
  const std::uint64_t tag = varint(end);
  field = {};
  field.number = static_cast<int>(tag >> 3 & 0x1FFFFFFF);
  if (field.number == 0) throw ParseError("a field without a number");
  switch (tag & 7) {
    case 0: field.value = varint(end); break;
    case 1: seek(at_ + 8, end); break;
    case 5: seek(at_ + 4, end); break;
    case 2: {
      const std::uint64_t length = varint(end);
      if (length > end - at_) throw ParseError("truncated");
      field.is_bytes = true;
      field.end = at_ + length;
      break;
    }
    default: throw ParseError("an unknown kind of field");
  }
  return true;
}

void ProtobufReader::skip(const ProtobufField& field) {
  if (field.is_bytes) seek(field.end, size_);
}

std::string ProtobufReader::read(const ProtobufField& field, std::uint64_t max_bytes) {
  if (!field.is_bytes || field.end < at_) throw ParseError("a field of another kind");
  if (field.end - at_ > max_bytes) throw ParseError("a field is too large");
  std::string out(field.end - at_, '\0');
  in_.read(out.data(), static_cast<std::streamsize>(out.size()));
  if (static_cast<std::size_t>(in_.gcount()) != out.size()) throw ParseError("truncated");
  at_ = field.end;
  return out;
}

}  // namespace yolort
