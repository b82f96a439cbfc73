#include "runtime/model/npy.h"

#include <bit>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/status_macros.h"
#include "runtime/model/mapped_file.h"

namespace longspan {
namespace {

static_assert(std::endian::native == std::endian::little, ".npy data is copied as little-endian");

constexpr std::string_view kMagic("\x93NUMPY", 6);
constexpr size_t kAlignment = 64;  // of the data, counted from the beginning of the file

absl::Status Unreadable(const std::string& path, const std::string& problem) {
  return absl::InvalidArgumentError(absl::StrCat(
      path, ": ", problem, "; save the array again with numpy.save as int32, int64, uint32 or float32"));
}

// The text after `'key':` in the header's Python dictionary, or nothing.
std::optional<std::string_view> HeaderValue(std::string_view header, std::string_view key) {
  const size_t found = header.find(key);
  if (found == std::string_view::npos) return std::nullopt;
  std::string_view rest = header.substr(found + key.size());
  const size_t value = rest.find_first_not_of(" :");
  if (value == std::string_view::npos) return std::nullopt;
  return rest.substr(value);
}

// Parses a Python tuple of non-negative integers, as "(3, 4)" or "(3,)".
std::optional<std::vector<int64_t>> ParseShape(std::string_view text) {
  if (!text.starts_with('(')) return std::nullopt;
  std::vector<int64_t> shape;
  text.remove_prefix(1);
  for (;;) {
    text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
    if (text.starts_with(')')) return shape;
    int64_t size = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), size);
    if (error != std::errc() || size < 0) return std::nullopt;
    shape.push_back(size);
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
    if (text.starts_with(',')) {
      text.remove_prefix(1);
    } else if (!text.starts_with(')')) {
      return std::nullopt;
    }
  }
}

template <typename T>
absl::Status CopyValues(std::span<const std::byte> data, int64_t elements, const std::string& path,
                        NpyArray* array) {
  if (elements != static_cast<int64_t>(data.size() / sizeof(T)) || data.size() % sizeof(T) != 0) {
    return Unreadable(path, absl::StrCat("its header describes ", elements, " values of ", sizeof(T),
                                         " bytes but ", data.size(), " bytes follow"));
  }
  std::vector<T> values(static_cast<size_t>(elements));
  if (!values.empty()) std::memcpy(values.data(), data.data(), data.size());
  array->values = std::move(values);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<NpyArray> ReadNpy(const std::string& path) {
  LONGSPAN_ASSIGN_OR_RETURN(const std::unique_ptr<MappedFile> file, MappedFile::Open(path));
  const std::span<const std::byte> bytes = file->bytes();
  if (bytes.size() < 10 || std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0) {
    return Unreadable(path, "is not a .npy file");
  }
  const int version = std::to_integer<int>(bytes[6]);
  if (version != 1 && version != 2) {
    return Unreadable(path, absl::StrCat("has .npy version ", version, ", not 1 or 2"));
  }
  const size_t length_bytes = version == 1 ? 2 : 4;
  const size_t header_begin = 8 + length_bytes;
  uint32_t header_bytes = 0;
  if (bytes.size() >= header_begin) std::memcpy(&header_bytes, bytes.data() + 8, length_bytes);
  if (bytes.size() < header_begin || header_bytes > bytes.size() - header_begin) {
    return Unreadable(path, "ends inside its header");
  }
  const std::string_view header(reinterpret_cast<const char*>(bytes.data()) + header_begin, header_bytes);
  const std::optional<std::string_view> descr = HeaderValue(header, "'descr'");
  const std::optional<std::string_view> order = HeaderValue(header, "'fortran_order'");
  const std::optional<std::string_view> shape_text = HeaderValue(header, "'shape'");
  std::optional<std::vector<int64_t>> shape = shape_text ? ParseShape(*shape_text) : std::nullopt;
  if (!descr || !order || !shape)
    return Unreadable(path, "has a header without descr, fortran_order and shape");
  if (!order->starts_with("False")) return Unreadable(path, "is in Fortran order");

  NpyArray array;
  int64_t elements = 1;
  for (const int64_t size : *shape) {
    if (__builtin_mul_overflow(elements, size, &elements))
      return Unreadable(path, "has a shape that overflows");
  }
  array.shape = *std::move(shape);
  const std::span<const std::byte> data = bytes.subspan(header_begin + header_bytes);
  absl::Status status;
  if (descr->starts_with("'<i4'")) {
    status = CopyValues<int32_t>(data, elements, path, &array);
  } else if (descr->starts_with("'<i8'")) {
    status = CopyValues<int64_t>(data, elements, path, &array);
  } else if (descr->starts_with("'<u4'")) {
    status = CopyValues<uint32_t>(data, elements, path, &array);
  } else if (descr->starts_with("'<f4'")) {
    status = CopyValues<float>(data, elements, path, &array);
  } else {
    status = Unreadable(path, "holds values of another type");
  }
  if (!status.ok()) return status;
  return array;
}

absl::StatusOr<std::vector<int64_t>> NpyIntegers(const NpyArray& array, const std::string& origin) {
  return std::visit(
      [&](const auto& values) -> absl::StatusOr<std::vector<int64_t>> {
        if constexpr (std::is_same_v<decltype(values), const std::vector<float>&>) {
          return Unreadable(origin, "holds floats where integers are expected");
        } else {
          return std::vector<int64_t>(values.begin(), values.end());
        }
      },
      array.values);
}

absl::StatusOr<std::unique_ptr<NpyWriter>> NpyWriter::Create(const std::string& path, int64_t rows,
                                                             int64_t columns) {
  LONGSPAN_CHECK(rows >= 0 && columns > 0);
  std::string header =
      absl::StrCat("{'descr': '<f4', 'fortran_order': False, 'shape': (", rows, ", ", columns, "), }");
  const size_t prefix = kMagic.size() + 4;
  const size_t padding = (kAlignment - (prefix + header.size() + 1) % kAlignment) % kAlignment;
  header.append(padding, ' ');
  header.push_back('\n');

  std::string beginning(kMagic);
  beginning +=
      {'\x01', '\x00', static_cast<char>(header.size() & 0xff), static_cast<char>(header.size() >> 8)};
  beginning += header;
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) {
    return absl::UnavailableError(absl::StrCat(path, ": cannot create: ", std::strerror(errno)));
  }
  std::unique_ptr<NpyWriter> writer(new NpyWriter(path, file, rows, columns));
  if (std::fwrite(beginning.data(), 1, beginning.size(), file) != beginning.size()) {
    return absl::UnavailableError(absl::StrCat(path, ": cannot write: ", std::strerror(errno)));
  }
  return writer;
}

NpyWriter::~NpyWriter() {
  if (file_ != nullptr) std::fclose(file_);
}

absl::Status NpyWriter::Write(std::span<const float> values) {
  LONGSPAN_CHECK(file_ != nullptr);
  LONGSPAN_CHECK(static_cast<int64_t>(values.size()) % columns_ == 0);
  const int64_t rows = static_cast<int64_t>(values.size()) / columns_;
  LONGSPAN_CHECK(rows <= rows_ - rows_written_);
  rows_written_ += rows;
  if (std::fwrite(values.data(), sizeof(float), values.size(), file_) != values.size()) {
    return absl::UnavailableError(absl::StrCat(path_, ": cannot write: ", std::strerror(errno)));
  }
  return absl::OkStatus();
}

absl::Status NpyWriter::Finish() {
  LONGSPAN_CHECK(file_ != nullptr);
  const int failed = std::fclose(std::exchange(file_, nullptr));
  if (failed != 0)
    return absl::UnavailableError(absl::StrCat(path_, ": cannot write: ", std::strerror(errno)));
  if (rows_written_ != rows_) {
    return absl::InternalError(absl::StrCat(path_, ": holds ", rows_written_, " of ", rows_,
                                            " rows; the run ended early, repeat it"));
  }
  return absl::OkStatus();
}

}  // namespace longspan
