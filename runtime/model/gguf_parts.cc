// Models that lie in several GGUF files.
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/status_macros.h"
#include "runtime/model/gguf.h"
#include "runtime/model/gguf_cursor.h"

namespace longspan {
namespace {

constexpr char kNumberKey[] = "split.no";  // from zero
constexpr char kCountKey[] = "split.count";
constexpr char kTensorsKey[] = "split.tensors.count";  // of all parts together
constexpr int64_t kMaxParts = 99'999;                  // the names have five digits

std::string NameEnding(int64_t number, int64_t count) {
  return absl::StrFormat("-%05d-of-%05d.gguf", number + 1, count);
}

// The path of another part: names differ in the number alone.
absl::StatusOr<std::string> PathOfPart(const std::string& path, int64_t own, int64_t other, int64_t count) {
  const std::string ending = NameEnding(own, count);
  if (!path.ends_with(ending)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": is part ", own + 1, " of ", count, " but its name does not end in ", ending,
                     ", so the other parts cannot be found; give all parts their names back"));
  }
  return absl::StrCat(path.substr(0, path.size() - ending.size()), NameEnding(other, count));
}

absl::Status NotThePart(const GgufFile& part, int64_t number, int64_t count) {
  return absl::DataLossError(absl::StrCat(
      part.path(), ": does not say that it is part ", number + 1, " of ", count, " (", kNumberKey, ", ",
      kCountKey, "); the files do not belong together, copy or download them again"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<GgufFile>> GgufFile::Open(const std::string& path) {
  LONGSPAN_ASSIGN_OR_RETURN(std::unique_ptr<GgufFile> file, OpenOne(path));
  if (!file->Has(kCountKey)) return file;
  LONGSPAN_ASSIGN_OR_RETURN(const int64_t count, file->Int(kCountKey));
  if (count < 0 || count > kMaxParts) {
    return absl::DataLossError(absl::StrCat(path, ": ", kCountKey, " is ", count, "; up to ", kMaxParts,
                                            " parts are possible, copy or download the file again"));
  }
  if (count <= 1) return file;
  LONGSPAN_ASSIGN_OR_RETURN(const int64_t number, file->Int(kNumberKey));
  if (number != 0) {
    if (number < 0 || number >= count) return NotThePart(*file, 0, count);
    LONGSPAN_ASSIGN_OR_RETURN(const std::string first, PathOfPart(path, number, 0, count));
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": is part ", number + 1, " of ", count, "; give the first, ", first));
  }
  LONGSPAN_RETURN_IF_ERROR(file->OpenParts(count));
  return file;
}

absl::Status GgufFile::OpenParts(int64_t count) {
  for (int64_t number = 1; number < count; ++number) {
    LONGSPAN_ASSIGN_OR_RETURN(const std::string path, PathOfPart(this->path(), 0, number, count));
    absl::StatusOr<std::unique_ptr<GgufFile>> part = OpenOne(path);
    if (absl::IsNotFound(part.status())) {
      return absl::NotFoundError(absl::StrCat(this->path(), ": is part 1 of ", count, ", and part ",
                                              number + 1, " is missing: ", path,
                                              "; put it beside the first"));
    }
    if (!part.ok()) return part.status();
    LONGSPAN_RETURN_IF_ERROR(TakePart(*std::move(part), number, count));
  }
  if (!Has(kTensorsKey)) return absl::OkStatus();
  LONGSPAN_ASSIGN_OR_RETURN(const int64_t expected, Int(kTensorsKey));
  if (expected != static_cast<int64_t>(tensors_.size())) {
    return absl::DataLossError(absl::StrCat(path(), ": ", kTensorsKey, " is ", expected, " but the ", count,
                                            " parts have ", tensors_.size(),
                                            " tensors; copy or download them again"));
  }
  return absl::OkStatus();
}

absl::Status GgufFile::TakePart(std::unique_ptr<GgufFile> part, int64_t number, int64_t count) {
  const auto says = [&](const char* key, int64_t value) {
    const absl::StatusOr<int64_t> found = part->Int(key);
    return found.ok() && *found == value;
  };
  if (!says(kNumberKey, number) || !says(kCountKey, count)) return NotThePart(*part, number, count);
  for (TensorEntry& tensor : part->tensors_) {
    if (!tensor_index_.emplace(tensor.name, tensors_.size()).second) {
      return absl::DataLossError(
          absl::StrCat(part->path(), ": tensor ", PrintableName(tensor.name),
                       " is in an earlier part too; copy or download the parts again"));
    }
    tensors_.push_back(std::move(tensor));
  }
  part->tensors_.clear();
  part->tensor_index_.clear();
  parts_.push_back(std::move(part));
  return absl::OkStatus();
}

}  // namespace longspan
