#include "runtime/api/request_fields.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/api/json_writer.h"
#include "runtime/api/openai_error.h"
#include "runtime/tokenizer/utf8.h"

namespace longspan {
namespace {

using nlohmann::ordered_json;

constexpr size_t kShownBytes = 60;

// A value as errors tell it.
std::string Describe(const ordered_json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return value.empty() ? "an empty list" : "a list";
  if (!value.is_string()) return value.dump();
  const auto& text = value.get_ref<const std::string&>();
  if (text.size() <= kShownBytes) return JsonString(text);
  size_t end = kShownBytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;  // not inside a character
  return absl::StrCat(JsonString(std::string_view(text).substr(0, end)), "…");
}

}  // namespace

absl::Status MustBe(std::string_view path, const ordered_json& value, std::string_view what) {
  return InvalidField(path, absl::StrCat("is ", Describe(value), "; it must be ", std::string(what)));
}

absl::Status Missing(std::string_view path, std::string_view what) {
  return InvalidField(path, absl::StrCat("is missing; it must be ", std::string(what)));
}

std::optional<int32_t> AsTokenId(const ordered_json& value) {
  if (!value.is_number_unsigned()) return std::nullopt;
  const auto id = value.get<uint64_t>();
  if (id > std::numeric_limits<int32_t>::max()) return std::nullopt;
  return static_cast<int32_t>(id);
}

absl::StatusOr<std::vector<int32_t>> ReadTokenIds(std::string_view path, const ordered_json& list) {
  std::vector<int32_t> ids;
  ids.reserve(list.size());
  for (const ordered_json& item : list) {
    const std::optional<int32_t> id = AsTokenId(item);
    if (!id.has_value())
      return MustBe(absl::StrCat(std::string(path), "[", ids.size(), "]"), item, "a token id");
    ids.push_back(*id);
  }
  return ids;
}

std::string RequestFields::Path(std::string_view name) const {
  return path_.empty() ? std::string(name) : absl::StrCat(path_, ".", std::string(name));
}

const ordered_json* RequestFields::Find(std::string_view name) const {
  const auto found = object_.find(std::string(name));
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

absl::Status RequestFields::Read(std::string_view name, bool* target) const {
  const ordered_json* const value = Find(name);
  if (value == nullptr) return absl::OkStatus();
  if (!value->is_boolean()) return MustBe(Path(name), *value, "true or false");
  *target = value->get<bool>();
  return absl::OkStatus();
}

absl::Status RequestFields::Read(std::string_view name, std::string* target) const {
  const ordered_json* const value = Find(name);
  if (value == nullptr) return absl::OkStatus();
  if (!value->is_string()) return MustBe(Path(name), *value, "a string");
  *target = value->get<std::string>();
  return absl::OkStatus();
}

absl::Status RequestFields::ReadReal(std::string_view name, double least, double most, double* target) const {
  const ordered_json* const value = Find(name);
  if (value == nullptr) return absl::OkStatus();
  if (!value->is_number() || value->get<double>() < least || value->get<double>() > most) {
    return MustBe(Path(name), *value, absl::StrCat("a number from ", least, " to ", most));
  }
  *target = value->get<double>();
  return absl::OkStatus();
}

absl::Status RequestFields::ReadWhole(std::string_view name, int64_t least, int64_t most,
                                      int64_t* target) const {
  const ordered_json* const value = Find(name);
  if (value == nullptr) return absl::OkStatus();
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  const bool fits = value->is_number_integer() &&
                    !(value->is_number_unsigned() && value->get<uint64_t>() > uint64_t{kMost}) &&
                    value->get<int64_t>() >= least && value->get<int64_t>() <= most;
  if (!fits) {
    return MustBe(Path(name), *value,
                  most == kMost ? absl::StrCat("a whole number of at least ", least)
                                : absl::StrCat("a whole number from ", least, " to ", most));
  }
  *target = value->get<int64_t>();
  return absl::OkStatus();
}

absl::Status RequestFields::ReadWhole(std::string_view name, int64_t least, int64_t most,
                                      std::optional<int64_t>* target) const {
  int64_t value = 0;
  LONGSPAN_RETURN_IF_ERROR(ReadWhole(name, least, most, &value));
  if (Find(name) != nullptr) *target = value;
  return absl::OkStatus();
}

absl::StatusOr<const ordered_json*> RequestFields::FindObject(std::string_view name) const {
  const ordered_json* const value = Find(name);
  if (value != nullptr && !value->is_object()) return MustBe(Path(name), *value, "an object");
  return value;
}

absl::StatusOr<const ordered_json*> RequestFields::FindList(std::string_view name) const {
  const ordered_json* const value = Find(name);
  if (value != nullptr && !value->is_array()) return MustBe(Path(name), *value, "a list");
  return value;
}

}  // namespace longspan
