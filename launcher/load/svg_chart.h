// Charts as SVG, without a library: axes with ticks, lines, points, limits.
#pragma once

#include <string>
#include <vector>

namespace longspan::load {

// Text as XML takes it.
std::string EscapeXml(const std::string& text);

struct Axis {
  std::string label;
  double least = 0, most = 1;
  bool logarithmic = false;  // then 0 < least

  // From 0 at `least` to 1 at `most`; what lies outside goes to the nearer end.
  double Fraction(double value) const;
  // Round numbers within, ascending: at least two, at most about ten.
  std::vector<double> Ticks() const;
};

// Logarithmic, in half decades: covers the values above 0, but for the lowest hundredth, of which a few far
// below the others would take all the room.
Axis LogAxis(std::string label, std::vector<double> values);
// From 0.
Axis LinearAxis(std::string label, double most);

struct ChartPoint {
  double x = 0, y = 0;
};

// One chart; things are drawn in the order in which they are added.
class SvgChart {
 public:
  // At (left, top) of the image, in pixels, everything included.
  SvgChart(double left, double top, double width, double height, std::string title, Axis x, Axis y);

  void AddLine(const std::vector<ChartPoint>& points, const std::string& color, const std::string& name);
  void AddDots(const std::vector<ChartPoint>& points, const std::string& color, const std::string& name);
  // Small crosses.
  void AddCrosses(const std::vector<ChartPoint>& points, const std::string& color, const std::string& name);
  // A dashed line across the chart with a word beside it.
  void AddVerticalLimit(double x, const std::string& color, const std::string& name);
  void AddHorizontalLimit(double y, const std::string& color, const std::string& name);

  // A <g> element.
  std::string Render() const;

 private:
  double X(double value) const;
  double Y(double value) const;
  void AddLegend(const std::string& color, const std::string& name);
  void AppendAxes(std::string* svg) const;

  const double left_, top_, width_, height_;
  const std::string title_;
  const Axis x_, y_;
  std::string content_, legend_;
  double legend_right_ = 0;
};

}  // namespace longspan::load
