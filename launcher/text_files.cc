#include "launcher/text_files.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <limits>
#include <memory>

#include <nlohmann/json.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "kernels/status_macros.h"
#include "runtime/model/npy.h"

namespace longspan {
namespace {

absl::StatusOr<int32_t> ToTokenId(int64_t value, const std::string& origin) {
  if (value < 0 || value > std::numeric_limits<int32_t>::max()) {
    return absl::InvalidArgumentError(absl::StrCat(
        origin, ": ", value, " is not a token id; ids are numbers from 0 to the vocabulary's size"));
  }
  return static_cast<int32_t>(value);
}

absl::StatusOr<std::vector<int32_t>> ReadNpyIds(const std::string& path) {
  LONGSPAN_ASSIGN_OR_RETURN(const NpyArray array, ReadNpy(path));
  LONGSPAN_ASSIGN_OR_RETURN(const std::vector<int64_t> values, NpyIntegers(array, path));
  if (array.shape.size() > 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": has ", array.shape.size(), " dimensions; token ids are one list"));
  }
  std::vector<int32_t> ids;
  ids.reserve(values.size());
  for (const int64_t value : values) {
    LONGSPAN_ASSIGN_OR_RETURN(ids.emplace_back(), ToTokenId(value, path));
  }
  return ids;
}

}  // namespace

absl::StatusOr<std::string> ReadTextFile(const std::string& path) {
  const auto fail = [&path] {
    return absl::NotFoundError(absl::StrCat("cannot read ", path, ": ", std::strerror(errno)));
  };
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    return absl::NotFoundError(absl::StrCat("cannot read ", path, ": it is a folder"));
  }
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), &std::fclose);
  if (file == nullptr) return fail();
  std::string text;
  char buffer[1 << 16];
  size_t count = 0;
  while ((count = std::fread(buffer, 1, sizeof buffer, file.get())) > 0) text.append(buffer, count);
  if (std::ferror(file.get()) != 0) return fail();
  return text;
}

absl::Status WriteTextFile(const std::string& path, std::string_view text) {
  std::FILE* const file = std::fopen(path.c_str(), "wb");
  const bool written = file != nullptr && std::fwrite(text.data(), 1, text.size(), file) == text.size();
  const bool closed = file != nullptr && std::fclose(file) == 0;
  if (written && closed) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("cannot write ", path, ": ", std::strerror(errno)));
}

std::vector<std::string_view> SplitLines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    lines.push_back(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  }
  return lines;
}

absl::StatusOr<std::vector<int32_t>> ParseTokenIdArray(std::string_view json, const std::string& origin) {
  const nlohmann::json array = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!array.is_array()) {
    return absl::InvalidArgumentError(absl::StrCat(origin, ": is not a JSON array of token ids"));
  }
  std::vector<int32_t> ids;
  ids.reserve(array.size());
  for (const nlohmann::json& item : array) {
    // Beyond int64 only unsigned numbers exist, and they wrap to negative ones.
    if (!item.is_number_integer()) {
      return absl::InvalidArgumentError(
          absl::StrCat(origin, ": ", item.dump(-1, ' ', true), " is not a token id"));
    }
    LONGSPAN_ASSIGN_OR_RETURN(ids.emplace_back(), ToTokenId(item.get<int64_t>(), origin));
  }
  return ids;
}

absl::StatusOr<std::vector<int32_t>> ReadTokenIds(const std::string& text) {
  if (text.starts_with("@")) {
    const std::string path = text.substr(1);
    if (path.ends_with(".npy")) return ReadNpyIds(path);
    LONGSPAN_ASSIGN_OR_RETURN(const std::string json, ReadTextFile(path));
    return ParseTokenIdArray(json, path);
  }
  std::vector<int32_t> ids;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    int64_t value = 0;
    if (!absl::SimpleAtoi(part, &value)) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", part, "' is not a token id; give ids as 1,2,3 or as @FILE"));
    }
    LONGSPAN_ASSIGN_OR_RETURN(ids.emplace_back(), ToTokenId(value, "--token-ids"));
  }
  return ids;
}

absl::Status WriteOutput(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    return absl::UnavailableError(absl::StrCat("cannot write to standard output: ", std::strerror(errno)));
  }
  return absl::OkStatus();
}

}  // namespace longspan
