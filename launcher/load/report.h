// The figures of a run.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launcher/load/load_run.h"
#include "launcher/load/slo.h"
#include "launcher/load/statistics.h"

namespace longspan::load {

// What a run was of, in words.
struct RunDescription {
  std::string url, model, endpoint, prompts;
  std::string load;  // "open loop, Poisson, 2 requests/s"
  uint64_t seed = 0;
  std::optional<Slo> slo;
};

struct ErrorCount {
  std::string kind;  // RequestRecord::ErrorKind
  int64_t count = 0;
  std::string example;  // the first message
};

// Requests that were within the limits; those that failed were not. Shares are of all but the cancelled ones.
struct Goodput {
  int64_t met = 0;
  double share = 0, ttft_share = 0, tpot_share = 0, e2e_share = 0;
  double requests_per_s = 0, output_tokens_per_s = 0;
};

struct Report {
  RunDescription description;
  double duration_s = 0;  // until the last request ended
  bool stopped = false;
  int64_t requests = 0, completed = 0, failed = 0, cancelled = 0, retries = 0;
  std::vector<ErrorCount> errors;  // of the failed, the most frequent first

  // Of all requests; what a failed one brought counts. Prompts count when the server has counted them.
  int64_t input_tokens = 0, output_tokens = 0;
  // Of completed requests; fewer than tokens where a server sends several at once. ITL is of pieces.
  int64_t pieces = 0, completed_tokens = 0;
  int64_t shorter = 0;        // completed requests with fewer tokens than asked for
  int64_t without_usage = 0;  // completed requests whose tokens the server did not count
  double requests_per_s = 0;  // completed
  double input_tokens_per_s = 0, output_tokens_per_s = 0;  // the latter is STPS

  // Of completed requests. ITL is of every gap of every request; UTPS, tokens per second of a user, is
  // 1/TPOT.
  Summary ttft_s, tpot_s, itl_s, e2e_s, utps;
  Summary lag_s;  // of all requests: how late the client sent them

  std::optional<Goodput> goodput;  // with an SLO
};

Report MakeReport(const LoadResult& result, RunDescription description);

}  // namespace longspan::load
