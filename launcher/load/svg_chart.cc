#include "launcher/load/svg_chart.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"

namespace longspan::load {
namespace {

constexpr double kLeftMargin = 58, kRightMargin = 14, kTopMargin = 46, kBottomMargin = 40;
constexpr double kLetterWidth = 6.2;  // of 11 pixels, roughly

std::string LimitText(double x, double y, const char* anchor, const std::string& color,
                      const std::string& name) {
  return absl::StrFormat("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" fill=\"%s\">%s</text>\n", x, y,
                         anchor, color, EscapeXml(name));
}

}  // namespace

std::string EscapeXml(const std::string& text) {
  std::string escaped = absl::StrReplaceAll(
      text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}, {"'", "&#39;"}});
  // Control characters have no form in XML 1.0.
  std::replace_if(
      escaped.begin(), escaped.end(), [](unsigned char c) { return c < ' '; }, ' ');
  return escaped;
}

double Axis::Fraction(double value) const {
  const double at = logarithmic ? std::log(std::max(value, least) / least) / std::log(most / least)
                                : (value - least) / (most - least);
  return std::clamp(at, 0.0, 1.0);
}

std::vector<double> Axis::Ticks() const {
  std::vector<double> ticks;
  const double slack = 1e-9;
  if (logarithmic) {
    const double decades = std::log10(most / least);
    for (int power = static_cast<int>(std::floor(std::log10(least)));
         std::pow(10, power) <= most * (1 + slack); ++power) {
      for (const double digit : {1.0, 2.0, 5.0}) {
        const double tick = digit * std::pow(10, power);
        const bool wanted = digit == 1 || decades < 3;
        if (wanted && tick >= least * (1 - slack) && tick <= most * (1 + slack)) ticks.push_back(tick);
      }
    }
    return ticks;
  }
  const double rough = (most - least) / 6;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  const double digit = rough / power;
  const double step = power * (digit <= 1 ? 1 : digit <= 2 ? 2 : digit <= 5 ? 5 : 10);
  for (double k = std::ceil(least / step - slack) + 0.0; k * step <= most + step * slack; ++k)
    ticks.push_back(k * step);
  return ticks;
}

Axis LogAxis(std::string label, std::vector<double> values) {
  Axis axis{std::move(label), 1, 10, true};
  std::erase_if(values, [](double value) { return value <= 0; });
  if (values.empty()) return axis;
  std::sort(values.begin(), values.end());
  const double least = values[values.size() / 100], most = values.back();
  const double half = 0.5;
  axis.least = std::pow(10, std::floor(std::log10(least) / half) * half);
  axis.most = std::pow(10, std::ceil(std::log10(most) / half) * half);
  if (axis.most < 9.9 * axis.least) axis.most = 10 * axis.least;
  return axis;
}

Axis LinearAxis(std::string label, double most) { return {std::move(label), 0, most > 0 ? most : 1, false}; }

SvgChart::SvgChart(double left, double top, double width, double height, std::string title, Axis x, Axis y)
    : left_(left + kLeftMargin),
      top_(top + kTopMargin),
      width_(width - kLeftMargin - kRightMargin),
      height_(height - kTopMargin - kBottomMargin),
      title_(std::move(title)),
      x_(std::move(x)),
      y_(std::move(y)) {}

double SvgChart::X(double value) const { return left_ + width_ * x_.Fraction(value); }
double SvgChart::Y(double value) const { return top_ + height_ * (1 - y_.Fraction(value)); }

void SvgChart::AddLegend(const std::string& color, const std::string& name) {
  if (name.empty()) return;
  absl::StrAppendFormat(&legend_,
                        "<rect x=\"%.1f\" y=\"%.1f\" width=\"9\" height=\"9\" fill=\"%s\"/>"
                        "<text x=\"%.1f\" y=\"%.1f\">%s</text>\n",
                        left_ + legend_right_, top_ - 17, color, left_ + legend_right_ + 13, top_ - 8.5,
                        EscapeXml(name));
  legend_right_ += 30 + kLetterWidth * static_cast<double>(name.size());
}

void SvgChart::AddLine(const std::vector<ChartPoint>& points, const std::string& color,
                       const std::string& name) {
  AddLegend(color, name);
  if (points.empty()) return;
  absl::StrAppendFormat(&content_, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"1.6\" points=\"",
                        color);
  for (const ChartPoint& point : points)
    absl::StrAppendFormat(&content_, "%.1f,%.1f ", X(point.x), Y(point.y));
  content_ += "\"/>\n";
}

void SvgChart::AddDots(const std::vector<ChartPoint>& points, const std::string& color,
                       const std::string& name) {
  AddLegend(color, name);
  absl::StrAppendFormat(&content_, "<g fill=\"%s\" fill-opacity=\"0.6\">\n", color);
  for (const ChartPoint& point : points) {
    absl::StrAppendFormat(&content_, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2\"/>\n", X(point.x), Y(point.y));
  }
  content_ += "</g>\n";
}

void SvgChart::AddCrosses(const std::vector<ChartPoint>& points, const std::string& color,
                          const std::string& name) {
  AddLegend(color, name);
  absl::StrAppendFormat(&content_, "<path stroke=\"%s\" stroke-width=\"1.4\" d=\"", color);
  for (const ChartPoint& point : points) {
    absl::StrAppendFormat(&content_, "M%.1f %.1fl6 6m0 -6l-6 6", X(point.x) - 3, Y(point.y) - 3);
  }
  content_ += "\"/>\n";
}

void SvgChart::AddVerticalLimit(double x, const std::string& color, const std::string& name) {
  if (x < x_.least || x > x_.most) return;
  absl::StrAppendFormat(&content_, "<path stroke=\"%s\" stroke-dasharray=\"4 3\" d=\"M%.1f %.1fv%.1f\"/>\n",
                        color, X(x), top_, height_);
  const bool at_right = x_.Fraction(x) > 0.8;
  content_ +=
      LimitText(X(x) + (at_right ? -4 : 4), top_ + height_ - 6, at_right ? "end" : "start", color, name);
}

void SvgChart::AddHorizontalLimit(double y, const std::string& color, const std::string& name) {
  if (y < y_.least || y > y_.most) return;
  absl::StrAppendFormat(&content_, "<path stroke=\"%s\" stroke-dasharray=\"4 3\" d=\"M%.1f %.1fh%.1f\"/>\n",
                        color, left_, Y(y), width_);
  content_ += LimitText(left_ + width_ - 3, Y(y) - 4, "end", color, name);
}

void SvgChart::AppendAxes(std::string* svg) const {
  *svg += "<g stroke=\"#e3e3e3\">\n";
  for (const double tick : x_.Ticks()) {
    absl::StrAppendFormat(svg, "<path d=\"M%.1f %.1fv%.1f\"/>\n", X(tick), top_, height_);
  }
  for (const double tick : y_.Ticks()) {
    absl::StrAppendFormat(svg, "<path d=\"M%.1f %.1fh%.1f\"/>\n", left_, Y(tick), width_);
  }
  *svg += "</g>\n<g fill=\"#555\">\n";
  for (const double tick : x_.Ticks()) {
    absl::StrAppendFormat(svg, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%g</text>\n", X(tick),
                          top_ + height_ + 14, tick);
  }
  for (const double tick : y_.Ticks()) {
    absl::StrAppendFormat(svg, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n", left_ - 5,
                          Y(tick) + 4, tick);
  }
  absl::StrAppendFormat(svg, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>\n",
                        left_ + width_ / 2, top_ + height_ + 31, EscapeXml(x_.label));
  absl::StrAppendFormat(svg,
                        "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\" transform=\"rotate(-90 %.1f "
                        "%.1f)\">%s</text>\n</g>\n",
                        left_ - 42, top_ + height_ / 2, left_ - 42, top_ + height_ / 2, EscapeXml(y_.label));
  absl::StrAppendFormat(svg,
                        "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"none\" "
                        "stroke=\"#888\"/>\n",
                        left_, top_, width_, height_);
}

std::string SvgChart::Render() const {
  std::string svg =
      absl::StrFormat("<g>\n<text x=\"%.1f\" y=\"%.1f\" font-size=\"13\" font-weight=\"bold\">%s</text>\n",
                      left_, top_ - 26, EscapeXml(title_));
  AppendAxes(&svg);
  if (content_.empty())
    svg += LimitText(left_ + width_ / 2, top_ + height_ / 2, "middle", "#888", "nothing to show");
  return svg + content_ + legend_ + "</g>\n";
}

}  // namespace longspan::load
