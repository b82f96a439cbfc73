// Reading the header of a GGUF file: a position that never passes the end of the file, and metadata values.
//
// Threads: a cursor belongs to one thread. Errors name the file, the field, the value and the byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "runtime/model/gguf.h"
#include "runtime/model/mapped_file.h"

namespace longspan {

// Names come from the file and may hold any byte, and many of them: made printable, and cut.
std::string PrintableName(std::string_view text);

class GgufCursor {
 public:
  // `file` must outlive the cursor and every string view read through it.
  explicit GgufCursor(const MappedFile& file) : path_(file.path()), bytes_(file.bytes()) {}

  size_t position() const { return position_; }
  size_t remaining() const { return bytes_.size() - position_; }

  // The error for a file that cannot be what its writer wrote.
  absl::Status Damaged(std::string_view problem) const;

  template <typename T>
  absl::StatusOr<T> Read(std::string_view what) {
    if (remaining() < sizeof(T)) return Damaged(absl::StrCat("the file ends inside ", std::string(what)));
    T value;
    std::memcpy(&value, bytes_.data() + position_, sizeof(T));
    position_ += sizeof(T);
    return value;
  }

  // A 64-bit length and that many bytes.
  absl::StatusOr<std::string_view> ReadString(std::string_view what);

  // A string that may be a key or a tensor's name: neither empty nor longer than 65,535 bytes.
  absl::StatusOr<std::string_view> ReadName(std::string_view what);

 private:
  const std::string& path_;
  std::span<const std::byte> bytes_;
  size_t position_ = 0;
};

// A value's type and the value. `what` names it in errors.
absl::StatusOr<GgufValue> ReadGgufValue(GgufCursor& cursor, std::string_view what);

}  // namespace longspan
