#include "launcher/load/report_formats.h"

#include <tuple>
#include <utility>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"

namespace longspan::load {
namespace {

using nlohmann::ordered_json;

ordered_json ToJson(const Summary& s) {
  return {{"count", s.count}, {"mean", s.mean}, {"min", s.min}, {"p1", s.p1},   {"p5", s.p5},  {"p10", s.p10},
          {"p50", s.p50},     {"p90", s.p90},   {"p95", s.p95}, {"p99", s.p99}, {"max", s.max}};
}

ordered_json OrNull(const std::optional<double>& value) {
  return value ? ordered_json(*value) : ordered_json(nullptr);
}

ordered_json SloJson(const Report& report) {
  if (!report.goodput) return nullptr;
  const Slo& slo = *report.description.slo;
  const Goodput& good = *report.goodput;
  return {{"ttft_s", OrNull(slo.ttft_s)},
          {"tpot_s", OrNull(slo.tpot_s)},
          {"e2e_s", OrNull(slo.e2e_s)},
          {"met", good.met},
          {"share", good.share},
          {"ttft_share", good.ttft_share},
          {"tpot_share", good.tpot_share},
          {"e2e_share", good.e2e_share},
          {"goodput_requests_per_s", good.requests_per_s},
          {"goodput_output_tokens_per_s", good.output_tokens_per_s}};
}

void AppendTimes(const char* name, const Summary& s, std::string* text) {
  if (s.count == 0) {
    absl::StrAppendFormat(text, "  %-5s %9s\n", name, "none");
    return;
  }
  absl::StrAppendFormat(text, "  %-5s %9.1f %9.1f %9.1f %9.1f %9.1f %9.1f\n", name, 1000 * s.mean,
                        1000 * s.p50, 1000 * s.p90, 1000 * s.p95, 1000 * s.p99, 1000 * s.max);
}

std::string RequestLine(const Report& report) {
  std::string text = absl::StrFormat("requests       %d sent, %d completed, %d failed", report.requests,
                                     report.completed, report.failed);
  if (report.cancelled > 0) absl::StrAppendFormat(&text, ", %d cancelled", report.cancelled);
  if (report.retries > 0) absl::StrAppendFormat(&text, ", %d tried again", report.retries);
  absl::StrAppendFormat(&text, ", in %.2f s%s\n", report.duration_s, report.stopped ? " (ended early)" : "");
  for (const ErrorCount& error : report.errors) {
    absl::StrAppendFormat(&text, "  %6d x %s: %s\n", error.count, error.kind, error.example);
  }
  return text;
}

void AppendGoodput(const Report& report, std::string* text) {
  const Slo& slo = *report.description.slo;
  const Goodput& good = *report.goodput;
  absl::StrAppendFormat(text, "goodput        %.3f requests/s, %.1f output tokens/s: %.1f %% met all of",
                        good.requests_per_s, good.output_tokens_per_s, 100 * good.share);
  const std::tuple<const char*, std::optional<double>, double> limits[] = {
      {"TTFT", slo.ttft_s, good.ttft_share},
      {"TPOT", slo.tpot_s, good.tpot_share},
      {"E2E", slo.e2e_s, good.e2e_share}};
  const char* separator = "";
  for (const auto& [name, limit_s, share] : limits) {
    if (!limit_s) continue;
    absl::StrAppendFormat(text, "%s %s <= %g ms (%.1f %%)", separator, name, 1000 * *limit_s, 100 * share);
    separator = ",";
  }
  *text += '\n';
}

std::string Quoted(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\"", "\"\""}}), "\"");
}

std::string Micros(double seconds) { return absl::StrFormat("%.6f", seconds); }

}  // namespace

std::string ReportTable(const Report& report) {
  const RunDescription& what = report.description;
  std::string text = absl::StrFormat("%s, %s, %s, prompts of %s\n%s, seed %d\n\n", what.url,
                                     what.model.empty() ? "model not named" : what.model, what.endpoint,
                                     what.prompts, what.load, what.seed);
  text += RequestLine(report);
  absl::StrAppendFormat(&text, "tokens         %d in, %d out", report.input_tokens, report.output_tokens);
  if (10 * report.pieces < 9 * report.completed_tokens) {
    absl::StrAppendFormat(&text, " in %d pieces, which ITL is of", report.pieces);
  }
  if (report.shorter > 0) absl::StrAppendFormat(&text, "; %d answers shorter than asked", report.shorter);
  if (report.without_usage > 0) {
    absl::StrAppendFormat(&text, "; %d without usage: a piece of text counts as a token",
                          report.without_usage);
  }
  absl::StrAppendFormat(&text, "\nrate           %.3f requests/s, %.1f input tokens/s\n",
                        report.requests_per_s, report.input_tokens_per_s);
  absl::StrAppendFormat(&text, "STPS           %.1f output tokens/s, of all users\n",
                        report.output_tokens_per_s);
  if (report.utps.count > 0) {
    absl::StrAppendFormat(
        &text, "UTPS           mean %.1f, p50 %.1f, p10 %.1f, p1 %.1f, min %.1f tokens/s of a user\n",
        report.utps.mean, report.utps.p50, report.utps.p10, report.utps.p1, report.utps.min);
  }
  if (report.goodput) AppendGoodput(report, &text);
  absl::StrAppendFormat(&text, "\n  %-5s %9s %9s %9s %9s %9s %9s\n", "ms", "mean", "p50", "p90", "p95", "p99",
                        "max");
  AppendTimes("TTFT", report.ttft_s, &text);
  AppendTimes("TPOT", report.tpot_s, &text);
  AppendTimes("ITL", report.itl_s, &text);
  AppendTimes("E2E", report.e2e_s, &text);
  AppendTimes("lag", report.lag_s, &text);
  return text;
}

std::string ReportJson(const Report& report) {
  const RunDescription& what = report.description;
  ordered_json errors = ordered_json::array();
  for (const ErrorCount& error : report.errors) {
    errors.push_back({{"kind", error.kind}, {"count", error.count}, {"example", error.example}});
  }
  const ordered_json object = {
      {"url", what.url},
      {"model", what.model},
      {"endpoint", what.endpoint},
      {"prompts", what.prompts},
      {"load", what.load},
      {"seed", what.seed},
      {"duration_s", report.duration_s},
      {"stopped", report.stopped},
      {"requests",
       {{"sent", report.requests},
        {"completed", report.completed},
        {"failed", report.failed},
        {"cancelled", report.cancelled},
        {"retries", report.retries},
        {"shorter_than_asked", report.shorter}}},
      {"errors", errors},
      {"tokens",
       {{"input", report.input_tokens}, {"output", report.output_tokens}, {"pieces", report.pieces}}},
      {"requests_per_s", report.requests_per_s},
      {"input_tokens_per_s", report.input_tokens_per_s},
      {"output_tokens_per_s", report.output_tokens_per_s},
      {"utps", ToJson(report.utps)},
      {"ttft_s", ToJson(report.ttft_s)},
      {"tpot_s", ToJson(report.tpot_s)},
      {"itl_s", ToJson(report.itl_s)},
      {"e2e_s", ToJson(report.e2e_s)},
      {"lag_s", ToJson(report.lag_s)},
      {"slo", SloJson(report)}};
  return object.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

std::string RecordsCsv(std::span<const RequestRecord> records, const std::optional<Slo>& slo) {
  std::string text =
      "index,outcome,http_status,retries,input_tokens_wanted,output_tokens_wanted,prompt_tokens,"
      "completion_tokens,scheduled_s,sent_s,ttft_s,tpot_s,e2e_s,finish_reason,slo_met,error,itl_s\r\n";
  for (const RequestRecord& record : records) {
    const std::optional<double> tpot_s = record.TpotSeconds();
    absl::StrAppend(&text, record.index, ",", OutcomeName(record.outcome), ",",
                    record.http_status == 0 ? "" : absl::StrCat(record.http_status), ",", record.retries, ",",
                    record.input_tokens_wanted, ",", record.output_tokens_wanted, ",");
    absl::StrAppend(&text, record.has_usage ? absl::StrCat(record.prompt_tokens) : "", ",",
                    record.completion_tokens, ",", Micros(record.scheduled_s), ",", Micros(record.sent_s),
                    ",", record.first_token_s > 0 ? Micros(record.TtftSeconds()) : "", ",",
                    tpot_s ? Micros(*tpot_s) : "", ",", Micros(record.E2eSeconds()), ",");
    absl::StrAppend(&text, Quoted(record.finish_reason), ",",
                    !slo                  ? ""
                    : Meets(*slo, record) ? "1"
                                          : "0",
                    ",", Quoted(record.error), ",");
    const char* separator = "";
    for (const float gap_s : record.gaps_s) {
      absl::StrAppendFormat(&text, "%s%.6f", std::exchange(separator, " "), gap_s);
    }
    text += "\r\n";
  }
  return text;
}

}  // namespace longspan::load
