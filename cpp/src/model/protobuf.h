// Protobuf messages, read field by field.
#pragma once

#include <cstdint>
#include <istream>
#include <string>

namespace yolort {

struct ProtobufField {
  int number = 0;
  bool is_bytes = false;    ///< a message, string, ...; otherwise a number
  std::uint64_t value = 0;  ///< of a varint
  std::uint64_t end = 0;    ///< for bytes: their end position
};

/// Reads from a stream of `size` bytes without loading skipped fields. Throws ParseError.
class ProtobufReader {
 public:
  ProtobufReader(std::istream& in, std::uint64_t size) : in_(in), size_(size) {}

  std::uint64_t size() const { return size_; }
  /// Position of the next byte.
  std::uint64_t position() const { return at_; }
  /// The bytes of a field, not read yet.
  std::uint64_t remaining(const ProtobufField& field) const { return field.end - at_; }
  /// Reads the next field of the message that ends at `end`; returns false at its end. Its bytes must be read or
  /// skipped before the next
  /// call.
  bool next(std::uint64_t end, ProtobufField& field);
  void skip(const ProtobufField& field);
  /// The bytes of a field, at most `max_bytes`.
  std::string read(const ProtobufField& field, std::uint64_t max_bytes);

 private:
  std::uint64_t varint(std::uint64_t end);
  void seek(std::uint64_t position, std::uint64_t end);

  std::istream& in_;
  std::uint64_t size_, at_ = 0;
};

}  // namespace yolort
