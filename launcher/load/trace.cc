#include "launcher/load/trace.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <limits>
#include <optional>

#include <nlohmann/json.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "kernels/status_macros.h"

namespace longspan::load {
namespace {

using nlohmann::json;

constexpr int64_t kMaxTokens = 100'000'000;

absl::Status Wrong(const std::string& where, std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(where, ": ", std::string(what)));
}

absl::StatusOr<int64_t> Length(const json& line, const char* name, const std::string& where) {
  const auto it = line.find(name);
  if (it == line.end() || !it->is_number_integer() || *it < 0 || *it > kMaxTokens) {
    return Wrong(where, absl::StrCat("\"", name, "\" is not a number of tokens"));
  }
  return std::max<int64_t>(1, it->get<int64_t>());
}

absl::StatusOr<PlannedRequest> ParseJsonLine(std::string_view text, const std::string& where) {
  const json line = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!line.is_object()) return Wrong(where, "is not a JSON object");
  PlannedRequest request;
  const auto timestamp = line.find("timestamp");
  if (timestamp == line.end() || !timestamp->is_number()) {
    return Wrong(where, "\"timestamp\" is not a number of milliseconds");
  }
  request.arrival_s = timestamp->get<double>() / 1000;
  LONGSPAN_ASSIGN_OR_RETURN(request.input_tokens, Length(line, "input_length", where));
  LONGSPAN_ASSIGN_OR_RETURN(request.output_tokens, Length(line, "output_length", where));
  if (const auto ids = line.find("hash_ids"); ids != line.end()) {
    const bool right = ids->is_array() && std::all_of(ids->begin(), ids->end(),
                                                      [](const json& id) { return id.is_number_integer(); });
    if (!right) return Wrong(where, "\"hash_ids\" is not an array of whole numbers");
    request.block_ids = ids->get<std::vector<int64_t>>();
  }
  return request;
}

// Seconds since 1970, in UTC or whatever zone the trace is in.
struct Moment {
  int64_t days = 0;
  double seconds = 0;
};

std::optional<Moment> ParseMoment(const std::string& text) {
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, end = 0;
  double second = 0;
  if (std::sscanf(text.c_str(), "%4d-%2d-%2d%*1[ T]%2d:%2d:%lf%n", &year, &month, &day, &hour, &minute,
                  &second, &end) != 6) {
    return std::nullopt;
  }
  const std::string_view rest = std::string_view(text).substr(end);
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(month),
                                         std::chrono::day(day)};
  const bool right = date.ok() && hour >= 0 && hour < 24 && minute >= 0 && minute < 60 && second >= 0 &&
                     second < 61 && (rest.empty() || rest == "Z" || rest == "+00:00");
  if (!right) return std::nullopt;
  return Moment{std::chrono::sys_days(date).time_since_epoch().count(), hour * 3600 + minute * 60 + second};
}

class CsvReader {
 public:
  absl::Status ReadHeader(std::string_view line, const std::string& where) {
    const std::vector<std::string> names = absl::StrSplit(std::string(line), ',');
    const std::vector<std::string> expected = {"TIMESTAMP", "ContextTokens", "GeneratedTokens"};
    for (size_t i = 0; i < expected.size(); ++i) {
      column_[i] = std::find(names.begin(), names.end(), expected[i]) - names.begin();
      if (column_[i] == names.size()) {
        return Wrong(where, absl::StrCat("has no column ", expected[i],
                                         "; a trace is CSV with TIMESTAMP, ContextTokens and "
                                         "GeneratedTokens, or JSON lines with \"timestamp\", "
                                         "\"input_length\" and \"output_length\""));
      }
    }
    return absl::OkStatus();
  }

  absl::StatusOr<PlannedRequest> ReadLine(std::string_view line, const std::string& where) {
    const std::vector<std::string> fields = absl::StrSplit(std::string(line), ',');
    if (fields.size() <= *std::max_element(column_, column_ + 3)) return Wrong(where, "has too few columns");
    const std::optional<Moment> moment = ParseMoment(fields[column_[0]]);
    if (!moment) {
      return Wrong(where,
                   absl::StrCat("'", fields[column_[0]], "' is not a time such as 2023-11-16 18:15:46.68"));
    }
    if (!first_day_) first_day_ = moment->days;
    PlannedRequest request;
    request.arrival_s = static_cast<double>(moment->days - *first_day_) * 86400 + moment->seconds;
    int64_t* const lengths[] = {&request.input_tokens, &request.output_tokens};
    for (int i = 0; i < 2; ++i) {
      const std::string& field = fields[column_[i + 1]];
      if (!absl::SimpleAtoi(field, lengths[i]) || *lengths[i] < 0 || *lengths[i] > kMaxTokens) {
        return Wrong(where, absl::StrCat("'", field, "' is not a number of tokens"));
      }
      *lengths[i] = std::max<int64_t>(1, *lengths[i]);
    }
    return request;
  }

 private:
  size_t column_[3] = {};
  std::optional<int64_t> first_day_;
};

}  // namespace

absl::StatusOr<std::vector<PlannedRequest>> ParseTrace(std::string_view text, const std::string& origin) {
  std::vector<PlannedRequest> trace;
  CsvReader csv;
  std::optional<bool> is_json;
  int64_t number = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    const std::string where = absl::StrCat(origin, ":", ++number);
    if (line.empty()) continue;
    if (!is_json) {
      is_json = line.front() == '{';
      if (!*is_json) {
        LONGSPAN_RETURN_IF_ERROR(csv.ReadHeader(line, where));
        continue;
      }
    }
    LONGSPAN_ASSIGN_OR_RETURN(trace.emplace_back(),
                              *is_json ? ParseJsonLine(line, where) : csv.ReadLine(line, where));
  }
  if (trace.empty()) return absl::InvalidArgumentError(absl::StrCat(origin, ": holds no request"));
  std::stable_sort(trace.begin(), trace.end(), [](const PlannedRequest& a, const PlannedRequest& b) {
    return a.arrival_s < b.arrival_s;
  });
  const double first_s = trace.front().arrival_s;
  for (PlannedRequest& request : trace) request.arrival_s -= first_s;
  return trace;
}

void ScaleTrace(double time, double lengths, std::vector<PlannedRequest>* trace) {
  const auto scale = [lengths](int64_t tokens) {
    const double scaled = lengths * static_cast<double>(tokens);
    return std::max<int64_t>(1, std::llround(std::min<double>(scaled, kMaxTokens)));
  };
  for (PlannedRequest& request : *trace) {
    request.arrival_s *= time;
    request.input_tokens = scale(request.input_tokens);
    request.output_tokens = scale(request.output_tokens);
    request.block_tokens = scale(request.block_tokens);
  }
}

}  // namespace longspan::load
