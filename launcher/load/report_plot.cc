#include "launcher/load/report_plot.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "launcher/load/statistics.h"
#include "launcher/load/svg_chart.h"

namespace longspan::load {
namespace {

constexpr double kWidth = 500, kHeight = 320, kHeader = 54, kBorder = 10;
constexpr size_t kMaxDots = 4000, kMaxSteps = 400, kBins = 60;
constexpr char kBlue[] = "#2b6cb0", kOrange[] = "#dd6b20", kRed[] = "#c53030", kGrey[] = "#777777";

// What the completed requests show; latencies in ms.
struct Points {
  std::vector<double> ttft_ms, tpot_ms, itl_ms;
  std::vector<ChartPoint> ttft_at, itl_at;  // over seconds
  std::vector<double> failed_at_s;
};

Points Collect(std::span<const RequestRecord> records) {
  Points points;
  for (const RequestRecord& record : records) {
    if (record.outcome == Outcome::kCancelled) continue;
    if (!record.completed()) {
      points.failed_at_s.push_back(record.scheduled_s);
      continue;
    }
    points.ttft_ms.push_back(1000 * record.TtftSeconds());
    points.ttft_at.push_back({record.scheduled_s, points.ttft_ms.back()});
    if (const std::optional<double> tpot_s = record.TpotSeconds()) points.tpot_ms.push_back(1000 * *tpot_s);
    double now_s = record.first_token_s;
    for (const float gap_s : record.gaps_s) {
      now_s += gap_s;
      points.itl_ms.push_back(1000.0 * gap_s);
      points.itl_at.push_back({now_s, points.itl_ms.back()});
    }
  }
  return points;
}

// The share of values up to each, in percent.
std::vector<ChartPoint> Cumulative(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  std::vector<ChartPoint> line;
  const size_t steps = std::min(values.size(), kMaxSteps);
  for (size_t i = 1; i <= steps; ++i) {
    const size_t count = values.size() * i / steps;
    line.push_back(
        {values[count - 1], 100.0 * static_cast<double>(count) / static_cast<double>(values.size())});
  }
  return line;
}

std::vector<ChartPoint> AtMostDots(const std::vector<ChartPoint>& points) {
  const size_t stride = points.size() / kMaxDots + 1;
  std::vector<ChartPoint> some;
  for (size_t i = 0; i < points.size(); i += stride) some.push_back(points[i]);
  return some;
}

// A percentile of the values in each part of the run that has any.
std::vector<ChartPoint> PercentileOverTime(const std::vector<ChartPoint>& points, double end_s,
                                           double percent) {
  std::vector<std::vector<double>> bins(kBins);
  for (const ChartPoint& point : points) {
    const double bin = std::floor(point.x / end_s * static_cast<double>(kBins));
    bins[static_cast<size_t>(std::clamp(bin, 0.0, static_cast<double>(kBins - 1)))].push_back(point.y);
  }
  std::vector<ChartPoint> line;
  for (size_t i = 0; i < kBins; ++i) {
    if (bins[i].empty()) continue;
    std::sort(bins[i].begin(), bins[i].end());
    line.push_back(
        {(static_cast<double>(i) + 0.5) * end_s / static_cast<double>(kBins), Percentile(bins[i], percent)});
  }
  return line;
}

std::string Distribution(double left, const std::string& title, const std::string& label,
                         const std::vector<std::pair<std::string, const std::vector<double>*>>& lines,
                         std::optional<double> limit_s) {
  std::vector<double> all;
  for (const auto& [name, values] : lines) all.insert(all.end(), values->begin(), values->end());
  if (limit_s && !all.empty()) all.push_back(1000 * *limit_s);
  SvgChart chart(left, kHeader, kWidth, kHeight, title, LogAxis(label, all), {"% up to this", 0, 100, false});
  const char* const colors[] = {kBlue, kOrange};
  for (size_t i = 0; i < lines.size(); ++i) {
    if (!lines[i].second->empty()) chart.AddLine(Cumulative(*lines[i].second), colors[i], lines[i].first);
  }
  if (limit_s) chart.AddVerticalLimit(1000 * *limit_s, kGrey, "SLO");
  return chart.Render();
}

std::string TtftOverTime(const Points& points, double end_s, std::optional<double> limit_s) {
  std::vector<double> values = points.ttft_ms;
  if (limit_s && !values.empty()) values.push_back(1000 * *limit_s);
  const Axis y = LogAxis("TTFT, ms", values);
  SvgChart chart(0, kHeader + kHeight, kWidth, kHeight, "TTFT over time", LinearAxis("arrival, s", end_s), y);
  if (!points.ttft_at.empty()) chart.AddDots(AtMostDots(points.ttft_at), kBlue, "completed");
  std::vector<ChartPoint> failed;
  for (const double at_s : points.failed_at_s) failed.push_back({at_s, y.least});
  if (!failed.empty()) chart.AddCrosses(AtMostDots(failed), kRed, "failed");
  if (limit_s) chart.AddHorizontalLimit(1000 * *limit_s, kGrey, "SLO");
  return chart.Render();
}

std::string ItlOverTime(const Points& points, double end_s, std::optional<double> limit_s) {
  std::vector<double> values;
  const std::vector<ChartPoint> p50 = PercentileOverTime(points.itl_at, end_s, 50);
  const std::vector<ChartPoint> p99 = PercentileOverTime(points.itl_at, end_s, 99);
  for (const auto* line : {&p50, &p99}) {
    for (const ChartPoint& point : *line) values.push_back(point.y);
  }
  if (limit_s && !values.empty()) values.push_back(1000 * *limit_s);
  SvgChart chart(kWidth, kHeader + kHeight, kWidth, kHeight, "ITL over time", LinearAxis("s", end_s),
                 LogAxis("ITL, ms", values));
  if (!p50.empty()) {
    chart.AddLine(p99, kOrange, "p99");
    chart.AddLine(p50, kBlue, "p50");
  }
  if (limit_s) chart.AddHorizontalLimit(1000 * *limit_s, kGrey, "SLO (TPOT)");
  return chart.Render();
}

}  // namespace

std::string ReportPlot(const Report& report, std::span<const RequestRecord> records) {
  const RunDescription& what = report.description;
  const Points points = Collect(records);
  const Slo slo = what.slo.value_or(Slo{});
  const double end_s = report.duration_s > 0 ? report.duration_s : 1;
  const double width = 2 * kWidth + kBorder, height = kHeader + 2 * kHeight + kBorder;
  std::string svg = absl::StrFormat(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\" "
      "font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%%\" height=\"100%%\" "
      "fill=\"white\"/>\n",
      width, height, width, height);
  absl::StrAppendFormat(&svg, "<text x=\"16\" y=\"22\" font-size=\"14\">%s</text>\n",
                        EscapeXml(absl::StrCat(what.load, ": ", what.model, " at ", what.url)));
  absl::StrAppendFormat(
      &svg, "<text x=\"16\" y=\"42\" fill=\"#555\">%s</text>\n",
      EscapeXml(absl::StrFormat("%d requests completed, %d failed; %.1f output tokens/s in all",
                                report.completed, report.failed, report.output_tokens_per_s)));
  svg += Distribution(0, "TTFT", "time to first token, ms", {{"TTFT", &points.ttft_ms}}, slo.ttft_s);
  svg += Distribution(kWidth, "ITL and TPOT", "ms", {{"ITL", &points.itl_ms}, {"TPOT", &points.tpot_ms}},
                      slo.tpot_s);
  svg += TtftOverTime(points, end_s, slo.ttft_s);
  svg += ItlOverTime(points, end_s, slo.tpot_s);
  return svg + "</svg>\n";
}

}  // namespace longspan::load
