#include "runtime/model/json_file.h"

#include <memory>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/model/mapped_file.h"

namespace longspan {
namespace {

// Far above what model files have. Deeper ones would take many times their size in memory.
constexpr int kMostNested = 100;

}  // namespace

absl::StatusOr<nlohmann::json> ParseJsonObject(std::string_view text, const std::string& origin) {
  absl::flat_hash_set<std::string> keys;
  std::optional<std::string> repeated;
  bool too_deep = false;
  const auto note_keys = [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json& parsed) {
    if (depth > kMostNested) {
      too_deep = true;
      return false;
    }
    if (depth == 1 && event == nlohmann::json::parse_event_t::key) {
      std::string key = parsed.get<std::string>();
      if (!keys.insert(key).second) repeated = std::move(key);
    }
    return true;
  };
  nlohmann::json object =
      nlohmann::json::parse(text.begin(), text.end(), note_keys, /*allow_exceptions=*/false);
  if (too_deep) {
    return absl::DataLossError(absl::StrCat(origin, ": is nested more than ", kMostNested,
                                            " deep; the file is damaged, copy or download it again"));
  }
  if (object.is_discarded() || !object.is_object()) {
    return absl::DataLossError(
        absl::StrCat(origin, ": is not a JSON object; the file is damaged, copy or download it again"));
  }
  if (repeated.has_value()) {
    return absl::DataLossError(absl::StrCat(origin, ": has the key ", *repeated, " twice; keep one of them"));
  }
  return object;
}

absl::StatusOr<nlohmann::json> ReadJsonObject(const std::string& path) {
  LONGSPAN_ASSIGN_OR_RETURN(const std::unique_ptr<MappedFile> file, MappedFile::Open(path));
  const std::string_view text(reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size());
  return ParseJsonObject(text, path);
}

}  // namespace longspan
