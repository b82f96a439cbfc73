// Percentiles, SLO, and the report in its forms.
#include "launcher/load/report.h"

#include <gtest/gtest.h>

#include <algorithm>

#include <nlohmann/json.hpp>

#include "launcher/load/report_formats.h"
#include "launcher/load/report_plot.h"
#include "launcher/load/svg_chart.h"

namespace longspan::load {
namespace {

using nlohmann::json;

TEST(StatisticsTest, PercentilesLieBetweenRanks) {
  const std::vector<double> values = {1, 2, 4, 8};
  EXPECT_EQ(Percentile(values, 0), 1);
  EXPECT_EQ(Percentile(values, 50), 3);
  EXPECT_NEAR(Percentile(values, 90), 6.8, 1e-12);  // as numpy.percentile([1, 2, 4, 8], 90)
  EXPECT_EQ(Percentile(values, 100), 8);
  EXPECT_EQ(Percentile(std::vector<double>{5}, 99), 5);
  std::vector<double> many;
  for (int i = 100; i >= 0; --i) many.push_back(i);
  const Summary summary = Summarize(many);
  EXPECT_EQ(summary.count, 101);
  EXPECT_DOUBLE_EQ(summary.mean, 50);
  EXPECT_DOUBLE_EQ(summary.p1, 1);
  EXPECT_DOUBLE_EQ(summary.p90, 90);
  EXPECT_DOUBLE_EQ(summary.p99, 99);
  EXPECT_EQ(summary.max, 100);
  EXPECT_EQ(Summarize({}).count, 0);
}

// First token after `ttft_s`, then `tokens - 1` more, `gap_s` apart.
RequestRecord Completed(double scheduled_s, double ttft_s, int64_t tokens, double gap_s) {
  RequestRecord record;
  record.input_tokens_wanted = 10;
  record.output_tokens_wanted = tokens;
  record.outcome = Outcome::kCompleted;
  record.http_status = 200;
  record.scheduled_s = scheduled_s;
  record.sent_s = scheduled_s + 0.125;
  record.first_token_s = scheduled_s + ttft_s;
  record.gaps_s.assign(static_cast<size_t>(tokens - 1), static_cast<float>(gap_s));
  record.last_token_s = record.end_s = record.first_token_s + gap_s * static_cast<double>(tokens - 1);
  record.has_usage = true;
  record.prompt_tokens = 10;
  record.completion_tokens = tokens;
  return record;
}

RequestRecord Failed(Outcome outcome, int status, const char* error) {
  RequestRecord record = Completed(1, 0.5, 1, 0);
  record.outcome = outcome;
  record.http_status = status;
  record.error = error;
  record.has_usage = false;
  record.prompt_tokens = record.completion_tokens = 0;
  return record;
}

TEST(SloTest, Parses) {
  const Slo slo = ParseSlo("tpot=50ms,ttft=1.5s").value();
  EXPECT_DOUBLE_EQ(*slo.ttft_s, 1.5);
  EXPECT_DOUBLE_EQ(*slo.tpot_s, 0.05);
  EXPECT_FALSE(slo.e2e_s.has_value());
  for (const char* text :
       {"", "ttft", "ttft=", "ttft=0ms", "ttft=1s,ttft=2s", "itl=1s", "ttft=1s,", "ttft=x"}) {
    EXPECT_FALSE(ParseSlo(text).ok()) << text;
  }
}

TEST(SloTest, Judges) {
  const Slo slo = ParseSlo("ttft=500ms,tpot=250ms,e2e=2s").value();
  EXPECT_TRUE(Meets(slo, Completed(3, 0.5, 5, 0.25)));
  EXPECT_FALSE(MeetsTtft(slo, Completed(3, 0.625, 5, 0.25)));
  EXPECT_FALSE(MeetsTpot(slo, Completed(3, 0.5, 5, 0.375)));
  EXPECT_FALSE(MeetsE2e(slo, Completed(3, 0.5, 8, 0.25)));
  EXPECT_TRUE(Meets(slo, Completed(3, 0.5, 1, 0)));
  EXPECT_FALSE(Meets(Slo{}, Failed(Outcome::kHttpError, 500, "")));
}

LoadResult SomeResult() {
  LoadResult result;
  result.duration_s = 4;
  result.records = {Completed(0, 0.25, 5, 0.125),
                    Failed(Outcome::kHttpError, 500, "first, \"quoted\""),
                    Completed(1, 0.75, 9, 0.25),
                    Failed(Outcome::kHttpError, 429, "busy <now>"),
                    Failed(Outcome::kHttpError, 429, "busy again"),
                    Failed(Outcome::kCancelled, 0, "cancelled")};
  result.records[2].output_tokens_wanted = 20;
  result.records[2].retries = 2;
  for (size_t i = 0; i < result.records.size(); ++i) result.records[i].index = static_cast<int64_t>(i);
  return result;
}

RunDescription SomeDescription() {
  return {"http://h:1", "m", "chat", "text", "closed loop", 7, ParseSlo("ttft=500ms,tpot=50ms").value()};
}

TEST(ReportTest, Figures) {
  RunDescription description = SomeDescription();
  description.slo = ParseSlo("ttft=500ms,tpot=250ms").value();
  const Report report = MakeReport(SomeResult(), description);
  EXPECT_EQ(report.requests, 6);
  EXPECT_EQ(report.completed, 2);
  EXPECT_EQ(report.failed, 3);
  EXPECT_EQ(report.cancelled, 1);
  EXPECT_EQ(report.retries, 2);
  EXPECT_EQ(report.shorter, 1);
  ASSERT_EQ(report.errors.size(), 2u);
  EXPECT_EQ(report.errors[0].kind, "HTTP 429");
  EXPECT_EQ(report.errors[0].count, 2);
  EXPECT_EQ(report.errors[0].example, "busy <now>");
  EXPECT_EQ(report.input_tokens, 20);
  EXPECT_EQ(report.output_tokens, 14);
  EXPECT_EQ(report.pieces, 14);
  EXPECT_DOUBLE_EQ(report.output_tokens_per_s, 3.5);
  EXPECT_DOUBLE_EQ(report.requests_per_s, 0.5);
  EXPECT_DOUBLE_EQ(report.ttft_s.mean, 0.5);
  EXPECT_DOUBLE_EQ(report.tpot_s.mean, 0.1875);
  EXPECT_EQ(report.itl_s.count, 12);
  EXPECT_DOUBLE_EQ(report.itl_s.mean, (4 * 0.125 + 8 * 0.25) / 12);
  EXPECT_DOUBLE_EQ(report.e2e_s.max, 2.75);
  EXPECT_DOUBLE_EQ(report.utps.max, 8);
  EXPECT_DOUBLE_EQ(report.utps.min, 4);
  EXPECT_EQ(report.lag_s.count, 6);
  EXPECT_DOUBLE_EQ(report.lag_s.max, 0.125);
  // One of the five that were not cancelled is within both.
  ASSERT_TRUE(report.goodput.has_value());
  EXPECT_EQ(report.goodput->met, 1);
  EXPECT_DOUBLE_EQ(report.goodput->share, 0.2);
  EXPECT_DOUBLE_EQ(report.goodput->ttft_share, 0.2);
  EXPECT_DOUBLE_EQ(report.goodput->tpot_share, 0.4);
  EXPECT_DOUBLE_EQ(report.goodput->requests_per_s, 0.25);
  EXPECT_DOUBLE_EQ(report.goodput->output_tokens_per_s, 1.25);
}

TEST(ReportTest, Table) {
  const std::string table = ReportTable(MakeReport(SomeResult(), SomeDescription()));
  for (const char* part :
       {"http://h:1, m, chat, prompts of text", "closed loop, seed 7",
        "6 sent, 2 completed, 3 failed, 1 cancelled, 2 tried again, in 4.00 s",
        "     2 x HTTP 429: busy <now>", "20 in, 14 out; 1 answers shorter than asked", "3.5 output tokens/s",
        "TTFT <= 500 ms (20.0 %), TPOT <= 50 ms (0.0 %)", "  TTFT      500.0     500.0     700.0"}) {
    EXPECT_NE(table.find(part), std::string::npos) << part << "\n" << table;
  }
  EXPECT_NE(ReportTable(MakeReport({}, {})).find("TTFT       none"), std::string::npos);
}

TEST(ReportTest, Json) {
  const json object = json::parse(ReportJson(MakeReport(SomeResult(), SomeDescription())));
  EXPECT_EQ(object["requests"]["failed"], 3);
  EXPECT_EQ(object["errors"][0]["kind"], "HTTP 429");
  EXPECT_EQ(object["ttft_s"]["p50"], 0.5);
  EXPECT_EQ(object["slo"]["ttft_s"], 0.5);
  EXPECT_TRUE(object["slo"]["e2e_s"].is_null());
  EXPECT_TRUE(json::parse(ReportJson(MakeReport({}, {})))["slo"].is_null());
}

TEST(ReportTest, Csv) {
  const LoadResult result = SomeResult();
  const std::string csv = RecordsCsv(result.records, SomeDescription().slo);
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 7);
  EXPECT_NE(csv.find("\r\n0,completed,200,0,10,5,10,5,0.000000,0.125000,0.250000,0.125000,0.750000,,0,,"
                     "0.125000 0.125000 0.125000 0.125000\r\n"),
            std::string::npos)
      << csv;
  EXPECT_NE(csv.find("\"first, \"\"quoted\"\"\""), std::string::npos);
}

TEST(ReportTest, Plot) {
  for (const LoadResult& result : {SomeResult(), LoadResult()}) {
    const std::string svg = ReportPlot(MakeReport(result, SomeDescription()), result.records);
    EXPECT_TRUE(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    EXPECT_EQ(svg.find("nan"), std::string::npos);
    EXPECT_EQ(svg.find("inf"), std::string::npos);
    EXPECT_EQ(svg.find("nothing to show") != std::string::npos, result.records.empty());
  }
}

TEST(SvgChartTest, Axes) {
  const Axis log = LogAxis("ms", {0, 3, 250});
  EXPECT_NEAR(log.least, 1, 1e-12);
  EXPECT_NEAR(log.most, 316.227766, 1e-6);
  EXPECT_NEAR(log.Fraction(10), 0.4, 1e-12);
  EXPECT_EQ(log.Fraction(0), 0);
  EXPECT_EQ(log.Ticks(), (std::vector<double>{1, 2, 5, 10, 20, 50, 100, 200}));
  const Axis linear = LinearAxis("s", 12);
  EXPECT_EQ(linear.Ticks(), (std::vector<double>{0, 2, 4, 6, 8, 10, 12}));
  EXPECT_EQ(linear.Fraction(6), 0.5);
  for (const double value : {1e-6, 0.7, 1.0, 3.2, 10.0, 5e7}) {
    EXPECT_GE(LogAxis("", {value}).Ticks().size(), 2u) << value;
    EXPECT_GE(LinearAxis("", value).Ticks().size(), 2u) << value;
    EXPECT_LE(LinearAxis("", value).Ticks().size(), 10u) << value;
  }
  EXPECT_EQ(EscapeXml("<a & 'b'\n>"), "&lt;a &amp; &#39;b&#39; &gt;");
}

}  // namespace
}  // namespace longspan::load
