// Reports as people and programs read them.
#pragma once

#include <span>
#include <string>

#include "launcher/load/report.h"

namespace longspan::load {

// Lines for a terminal; times in ms.
std::string ReportTable(const Report& report);

// One object and a newline; times in seconds, speeds in tokens per second. {"url", "model", "endpoint",
// "prompts", "load", "seed", "duration_s", "stopped", "requests": {"sent", "completed", "failed",
// "cancelled", "retries", "shorter_than_asked"}, "errors": [{"kind", "count", "example"}], "tokens":
// {"input", "output"}, "requests_per_s", "input_tokens_per_s", "output_tokens_per_s", "utps", "ttft_s",
// "tpot_s", "itl_s", "e2e_s", "lag_s": {"count", "mean", "min", "p1", "p5", "p10", "p50", "p90", "p95",
// "p99", "max"}, "slo": null or {"ttft_s", "tpot_s", "e2e_s": null or the limit, "met", "share",
// "ttft_share", "tpot_share", "e2e_share", "goodput_requests_per_s", "goodput_output_tokens_per_s"}}.
std::string ReportJson(const Report& report);

// A header and a line for each request, in order of arrival (RFC 4180). Times in seconds; what a request does
// not have is empty. The last column, itl_s, holds all gaps, with spaces between. slo_met is empty without an
// SLO.
std::string RecordsCsv(std::span<const RequestRecord> records, const std::optional<Slo>& slo);

}  // namespace longspan::load
