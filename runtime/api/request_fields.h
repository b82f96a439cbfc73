// Reads the members of a JSON object in a request. A member that is absent or null leaves its target alone;
// one of wrong type or range is an InvalidField (openai_error.h) that tells the value and what would be
// right.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace longspan {

// "is VALUE; it must be WHAT", the value shortened.
absl::Status MustBe(std::string_view path, const nlohmann::ordered_json& value, std::string_view what);
absl::Status Missing(std::string_view path, std::string_view what);  // "is missing; it must be WHAT"

// An unsigned JSON number that fits the type of token ids.
std::optional<int32_t> AsTokenId(const nlohmann::ordered_json& value);
absl::StatusOr<std::vector<int32_t>> ReadTokenIds(std::string_view path, const nlohmann::ordered_json& list);

class RequestFields {
 public:
  // `object` must outlive this and be a JSON object. `path` is its own in the request: "response_format";
  // empty for the request itself.
  RequestFields(const nlohmann::ordered_json& object, std::string path)
      : object_(object), path_(std::move(path)) {}

  std::string Path(std::string_view name) const;  // "response_format.type"
  // Null when there is none, or the JSON null.
  const nlohmann::ordered_json* Find(std::string_view name) const;

  absl::Status Read(std::string_view name, bool* target) const;
  absl::Status Read(std::string_view name, std::string* target) const;
  absl::Status ReadReal(std::string_view name, double least, double most, double* target) const;
  absl::Status ReadWhole(std::string_view name, int64_t least, int64_t most, int64_t* target) const;
  absl::Status ReadWhole(std::string_view name, int64_t least, int64_t most,
                         std::optional<int64_t>* target) const;

  // InvalidField when there is one of another type; else null or the member.
  absl::StatusOr<const nlohmann::ordered_json*> FindObject(std::string_view name) const;
  absl::StatusOr<const nlohmann::ordered_json*> FindList(std::string_view name) const;

 private:
  const nlohmann::ordered_json& object_;
  const std::string path_;
};

}  // namespace longspan
