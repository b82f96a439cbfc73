#include "runtime/model/gguf_cursor.h"

#include <bit>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "kernels/status_macros.h"

namespace longspan {

static_assert(std::endian::native == std::endian::little, "GGUF files are read in place as little-endian");

std::string PrintableName(std::string_view text) {
  constexpr size_t kMostBytes = 100;
  const std::string printable = absl::CHexEscape(absl::string_view(text.data(), text.size()));
  return printable.size() <= kMostBytes ? printable : absl::StrCat(printable.substr(0, kMostBytes), "...");
}

absl::Status GgufCursor::Damaged(std::string_view problem) const {
  return absl::DataLossError(absl::StrCat(path_, ": ", std::string(problem), " (at byte ", position_, " of ",
                                          bytes_.size(),
                                          "); the file is truncated or damaged, copy or download it again"));
}

absl::StatusOr<std::string_view> GgufCursor::ReadString(std::string_view what) {
  LONGSPAN_ASSIGN_OR_RETURN(const uint64_t length, Read<uint64_t>(what));
  if (length > remaining()) {
    return Damaged(absl::StrCat("the length of ", std::string(what), " is ", length, " bytes but only ",
                                remaining(), " are left"));
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes_.data()) + position_, length);
  position_ += length;
  return text;
}

absl::StatusOr<std::string_view> GgufCursor::ReadName(std::string_view what) {
  constexpr size_t kMaxNameBytes = 65535;
  LONGSPAN_ASSIGN_OR_RETURN(const std::string_view name, ReadString(what));
  if (name.empty() || name.size() > kMaxNameBytes) {
    return Damaged(absl::StrCat(std::string(what), " has ", name.size(), " bytes; 1 to ", kMaxNameBytes,
                                " are allowed"));
  }
  return name;
}

namespace {

enum class ValueType : uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

// Bytes of a value in the file: exact for numbers, the least possible for strings. 0 for anything else.
size_t LeastBytes(ValueType type) {
  switch (type) {
    case ValueType::kUint8:
    case ValueType::kInt8:
    case ValueType::kBool:
      return 1;
    case ValueType::kUint16:
    case ValueType::kInt16:
      return 2;
    case ValueType::kUint32:
    case ValueType::kInt32:
    case ValueType::kFloat32:
      return 4;
    case ValueType::kUint64:
    case ValueType::kInt64:
    case ValueType::kFloat64:
    case ValueType::kString:
      return 8;
    case ValueType::kArray:
      break;
  }
  return 0;
}

absl::StatusOr<GgufValue> ReadScalar(GgufCursor& cursor, ValueType type, std::string_view what) {
  const auto integer = [&]<typename T>(T) -> absl::StatusOr<GgufValue> {
    LONGSPAN_ASSIGN_OR_RETURN(const T value, cursor.Read<T>(what));
    if constexpr (std::is_same_v<T, uint64_t>) {
      if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return GgufValue(value);
    }
    return GgufValue(static_cast<int64_t>(value));
  };
  switch (type) {
    case ValueType::kUint8:
      return integer(uint8_t{});
    case ValueType::kInt8:
      return integer(int8_t{});
    case ValueType::kUint16:
      return integer(uint16_t{});
    case ValueType::kInt16:
      return integer(int16_t{});
    case ValueType::kUint32:
      return integer(uint32_t{});
    case ValueType::kInt32:
      return integer(int32_t{});
    case ValueType::kUint64:
      return integer(uint64_t{});
    case ValueType::kInt64:
      return integer(int64_t{});
    case ValueType::kFloat32: {
      LONGSPAN_ASSIGN_OR_RETURN(const float value, cursor.Read<float>(what));
      return GgufValue(static_cast<double>(value));
    }
    case ValueType::kFloat64: {
      LONGSPAN_ASSIGN_OR_RETURN(const double value, cursor.Read<double>(what));
      return GgufValue(value);
    }
    case ValueType::kBool: {
      LONGSPAN_ASSIGN_OR_RETURN(const uint8_t value, cursor.Read<uint8_t>(what));
      if (value > 1) return cursor.Damaged(absl::StrCat(std::string(what), " is the bool ", value));
      return GgufValue(value == 1);
    }
    case ValueType::kString: {
      LONGSPAN_ASSIGN_OR_RETURN(const std::string_view value, cursor.ReadString(what));
      return GgufValue(value);
    }
    case ValueType::kArray:
      break;
  }
  return cursor.Damaged(
      absl::StrCat(std::string(what), " has the unknown value type ", static_cast<uint32_t>(type)));
}

// Reads `count` scalars, each of which ReadScalar returns as the alternative T.
template <typename T>
absl::StatusOr<GgufValue> ReadElements(GgufCursor& cursor, ValueType type, uint64_t count,
                                       std::string_view what) {
  std::vector<T> elements;
  elements.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    LONGSPAN_ASSIGN_OR_RETURN(const GgufValue value, ReadScalar(cursor, type, what));
    const T* element = std::get_if<T>(&value);
    if (element == nullptr) {
      return cursor.Damaged(
          absl::StrCat("an element of ", std::string(what), " does not fit a signed integer"));
    }
    elements.push_back(*element);
  }
  return GgufValue(std::move(elements));
}

}  // namespace

absl::StatusOr<GgufValue> ReadGgufValue(GgufCursor& cursor, std::string_view what) {
  LONGSPAN_ASSIGN_OR_RETURN(const uint32_t raw_type, cursor.Read<uint32_t>(what));
  if (raw_type != static_cast<uint32_t>(ValueType::kArray)) {
    return ReadScalar(cursor, static_cast<ValueType>(raw_type), what);
  }
  LONGSPAN_ASSIGN_OR_RETURN(const uint32_t raw_element, cursor.Read<uint32_t>(what));
  LONGSPAN_ASSIGN_OR_RETURN(const uint64_t count, cursor.Read<uint64_t>(what));
  const ValueType element = static_cast<ValueType>(raw_element);
  const size_t least_bytes = LeastBytes(element);
  if (least_bytes == 0) {
    return cursor.Damaged(
        absl::StrCat(std::string(what), " is an array of the unsupported value type ", raw_element));
  }
  if (count > cursor.remaining() / least_bytes) {
    return cursor.Damaged(
        absl::StrCat(std::string(what), " claims ", count, " elements, more than the file holds"));
  }
  switch (element) {
    case ValueType::kBool:
      return ReadElements<bool>(cursor, element, count, what);
    case ValueType::kFloat32:
    case ValueType::kFloat64:
      return ReadElements<double>(cursor, element, count, what);
    case ValueType::kString:
      return ReadElements<std::string_view>(cursor, element, count, what);
    default:
      return ReadElements<int64_t>(cursor, element, count, what);
  }
}

}  // namespace longspan
