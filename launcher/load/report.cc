#include "launcher/load/report.h"

#include <algorithm>
#include <utility>

namespace longspan::load {
namespace {

double Ratio(double count, double of) { return of > 0 ? count / of : 0; }

void CountError(const RequestRecord& record, std::vector<ErrorCount>* errors) {
  const std::string kind = record.ErrorKind();
  auto it = std::find_if(errors->begin(), errors->end(),
                         [&kind](const ErrorCount& error) { return error.kind == kind; });
  if (it == errors->end()) it = errors->insert(it, {kind, 0, record.error});
  ++it->count;
}

Goodput MakeGoodput(const LoadResult& result, const Slo& slo) {
  Goodput goodput;
  int64_t judged = 0, ttft = 0, tpot = 0, e2e = 0, tokens = 0;
  for (const RequestRecord& record : result.records) {
    if (record.outcome == Outcome::kCancelled) continue;
    ++judged;
    ttft += MeetsTtft(slo, record) ? 1 : 0;
    tpot += MeetsTpot(slo, record) ? 1 : 0;
    e2e += MeetsE2e(slo, record) ? 1 : 0;
    if (!Meets(slo, record)) continue;
    ++goodput.met;
    tokens += record.completion_tokens;
  }
  const auto share = [judged](int64_t count) {
    return Ratio(static_cast<double>(count), static_cast<double>(judged));
  };
  goodput.share = share(goodput.met);
  goodput.ttft_share = share(ttft);
  goodput.tpot_share = share(tpot);
  goodput.e2e_share = share(e2e);
  goodput.requests_per_s = Ratio(static_cast<double>(goodput.met), result.duration_s);
  goodput.output_tokens_per_s = Ratio(static_cast<double>(tokens), result.duration_s);
  return goodput;
}

}  // namespace

Report MakeReport(const LoadResult& result, RunDescription description) {
  Report report;
  report.duration_s = result.duration_s;
  report.stopped = result.stopped;
  report.requests = std::ssize(result.records);
  std::vector<double> ttft, tpot, itl, e2e, utps, lag;
  for (const RequestRecord& record : result.records) {
    report.retries += record.retries;
    report.input_tokens += record.prompt_tokens;
    report.output_tokens += record.completion_tokens;
    lag.push_back(record.LagSeconds());
    if (record.outcome == Outcome::kCancelled) {
      ++report.cancelled;
      continue;
    }
    if (!record.completed()) {
      ++report.failed;
      CountError(record, &report.errors);
      continue;
    }
    ++report.completed;
    report.completed_tokens += record.completion_tokens;
    report.pieces += std::ssize(record.gaps_s) + 1;
    report.shorter += record.completion_tokens < record.output_tokens_wanted ? 1 : 0;
    report.without_usage += record.has_usage ? 0 : 1;
    ttft.push_back(record.TtftSeconds());
    e2e.push_back(record.E2eSeconds());
    itl.insert(itl.end(), record.gaps_s.begin(), record.gaps_s.end());
    if (const std::optional<double> seconds = record.TpotSeconds()) {
      tpot.push_back(*seconds);
      // Tokens that all came at once have no rate.
      if (*seconds > 0) utps.push_back(1 / *seconds);
    }
  }
  std::stable_sort(report.errors.begin(), report.errors.end(),
                   [](const ErrorCount& a, const ErrorCount& b) { return a.count > b.count; });
  report.requests_per_s = Ratio(static_cast<double>(report.completed), report.duration_s);
  report.input_tokens_per_s = Ratio(static_cast<double>(report.input_tokens), report.duration_s);
  report.output_tokens_per_s = Ratio(static_cast<double>(report.output_tokens), report.duration_s);
  report.ttft_s = Summarize(std::move(ttft));
  report.tpot_s = Summarize(std::move(tpot));
  report.itl_s = Summarize(std::move(itl));
  report.e2e_s = Summarize(std::move(e2e));
  report.utps = Summarize(std::move(utps));
  report.lag_s = Summarize(std::move(lag));
  if (description.slo) report.goodput = MakeGoodput(result, *description.slo);
  report.description = std::move(description);
  return report;
}

}  // namespace longspan::load
