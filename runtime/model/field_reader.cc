#include "runtime/model/field_reader.h"

#include <cmath>
#include <type_traits>

#include "absl/strings/str_cat.h"

namespace longspan {

std::string FieldReader::Describe(std::string_view key) const {
  return absl::StrCat(origin_, ": ", prefix_, std::string(key));
}

void FieldReader::Invalid(std::string_view key, const std::string& problem) {
  if (!status_.ok()) return;
  status_ = absl::InvalidArgumentError(absl::StrCat(
      Describe(key), " ", problem, "; the file is damaged or needs converting again with a current tool"));
}

void FieldReader::Refuse(std::string_view key, std::string_view value, std::string_view remedy) {
  if (!status_.ok()) return;
  status_ = absl::UnimplementedError(absl::StrCat(Describe(key), " is ", std::string(value),
                                                  ", which is not supported; ", std::string(remedy)));
}

void FieldReader::CheckRange(std::string_view key, int64_t value, int64_t least, int64_t most) {
  if (value >= least && value <= most) return;
  Invalid(key, absl::StrCat("is ", value, " but must be from ", least, " to ", most));
}

int64_t FieldReader::Integer(std::string_view key, int64_t least, int64_t most) {
  if (!Has(key)) Invalid(key, "is missing");
  return Integer(key, least, most, least);
}

int64_t FieldReader::Integer(std::string_view key, int64_t least, int64_t most, int64_t fallback) {
  const Value value = Lookup(key);
  if (std::holds_alternative<Absent>(value)) return fallback;
  const int64_t* integer = std::get_if<int64_t>(&value);
  if (integer == nullptr) {
    Invalid(key, "is not an integer");
    return fallback;
  }
  CheckRange(key, *integer, least, most);
  return *integer;
}

double FieldReader::Positive(std::string_view key) {
  if (!Has(key)) Invalid(key, "is missing");
  return Positive(key, 1.0);
}

double FieldReader::Positive(std::string_view key, double fallback) {
  return Number(key, fallback, /*zero_allowed=*/false);
}

double FieldReader::NotNegative(std::string_view key, double fallback) {
  return Number(key, fallback, /*zero_allowed=*/true);
}

double FieldReader::Number(std::string_view key, double fallback, bool zero_allowed) {
  const Value value = Lookup(key);
  if (std::holds_alternative<Absent>(value)) return fallback;
  double number = -1;
  if (const int64_t* integer = std::get_if<int64_t>(&value)) number = static_cast<double>(*integer);
  if (const double* real = std::get_if<double>(&value)) number = *real;
  // What models compute with is float32.
  const float single = static_cast<float>(number);
  if (!std::isfinite(single) || number < 0 || (single == 0 && !(zero_allowed && number == 0))) {
    Invalid(key, absl::StrCat("is not a finite number ", zero_allowed ? "from" : "above",
                              " zero that float32 holds"));
    return fallback;
  }
  return number;
}

std::string FieldReader::Text(std::string_view key, std::string fallback) {
  Value value = Lookup(key);
  if (std::holds_alternative<Absent>(value)) return fallback;
  std::string* text = std::get_if<std::string>(&value);
  if (text == nullptr) {
    Invalid(key, "is not a string");
    return fallback;
  }
  return std::move(*text);
}

bool FieldReader::Flag(std::string_view key, bool fallback) {
  const Value value = Lookup(key);
  if (std::holds_alternative<Absent>(value)) return fallback;
  const bool* flag = std::get_if<bool>(&value);
  if (flag == nullptr) Invalid(key, "is neither true nor false");
  return flag == nullptr ? fallback : *flag;
}

std::vector<std::string> FieldReader::Texts(std::string_view key) {
  Value value = Lookup(key);
  if (std::holds_alternative<Absent>(value)) return {};
  std::vector<std::string>* texts = std::get_if<std::vector<std::string>>(&value);
  if (texts == nullptr) {
    Invalid(key, "is not an array of strings");
    return {};
  }
  return std::move(*texts);
}

std::vector<int64_t> FieldReader::Integers(std::string_view key, int64_t least, int64_t most) {
  Value value = Lookup(key);
  std::vector<int64_t> integers;
  if (const int64_t* integer = std::get_if<int64_t>(&value)) {
    integers = {*integer};
  } else if (std::vector<int64_t>* list = std::get_if<std::vector<int64_t>>(&value)) {
    integers = std::move(*list);
  } else if (!std::holds_alternative<Absent>(value)) {
    Invalid(key, "is neither an integer nor an array of integers");
  }
  for (const int64_t integer : integers) CheckRange(key, integer, least, most);
  return integers;
}

FieldReader::Value GgufFieldReader::Lookup(std::string_view key) const {
  const GgufValue* found = file_.Find(absl::StrCat(prefix(), std::string(key)));
  if (found == nullptr) return Absent{};
  return std::visit(
      [](const auto& value) -> Value {
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<T, std::string_view>) {
          return std::string(value);
        } else if constexpr (std::is_same_v<T, std::vector<std::string_view>>) {
          return std::vector<std::string>(value.begin(), value.end());
        } else if constexpr (std::is_same_v<T, bool> || std::is_same_v<T, int64_t> ||
                             std::is_same_v<T, double> || std::is_same_v<T, std::vector<int64_t>>) {
          return value;
        } else {
          return Other{};
        }
      },
      *found);
}

namespace {

bool FitsInt64(const nlohmann::json& value) {
  return value.is_number_integer() &&
         (!value.is_number_unsigned() || value.get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX));
}

}  // namespace

FieldReader::Value JsonFieldReader::Lookup(std::string_view key) const {
  const auto found = object_.find(std::string(key));
  if (found == object_.end() || found->is_null()) return Absent{};
  if (found->is_boolean()) return found->get<bool>();
  if (FitsInt64(*found)) return found->get<int64_t>();
  if (found->is_number()) return found->get<double>();
  if (found->is_string()) return found->get<std::string>();
  if (!found->is_array() || found->empty()) return Other{};
  std::vector<int64_t> integers;
  std::vector<std::string> texts;
  for (const nlohmann::json& element : *found) {
    if (FitsInt64(element)) integers.push_back(element.get<int64_t>());
    if (element.is_string()) texts.push_back(element.get<std::string>());
  }
  if (integers.size() == found->size()) return integers;
  if (texts.size() == found->size()) return texts;
  return Other{};
}

}  // namespace longspan
