#include "train/svg_chart.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "xinslm/core/error.h"

namespace xinslm {
namespace {

constexpr double width = 900, height = 320, left = 70, right = 20, top = 30, bottom = 45;

struct Scale {
  double low, high, from, to;
  double operator()(double value) const { return from + (value - low) / (high - low) * (to - from); }
};

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  void include(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
};

std::string coordinate(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", value);
  return text;
}

std::string line(const char* style, double x1, double y1, double x2, double y2) {
  return cat("<line class=\"", style, "\" x1=\"", coordinate(x1), "\" y1=\"", coordinate(y1), "\" x2=\"",
             coordinate(x2), "\" y2=\"", coordinate(y2), "\"/>\n");
}

std::string label(double x, double y, const char* anchor, const std::string& text, const std::string& more = "") {
  return cat("<text x=\"", coordinate(x), "\" y=\"", coordinate(y), "\" text-anchor=\"", anchor, "\"", more, ">",
             escape_xml(text), "</text>\n");
}

std::string axes(const Chart& chart, const Scale& x, const Scale& y) {
  std::string svg;
  for (const double tick : axis_ticks(y.low, y.high, 6)) {
    svg += line("grid", left, y(tick), width - right, y(tick)) + label(left - 8, y(tick) + 4, "end", rounded(tick));
  }
  for (const double tick : axis_ticks(x.low, x.high, 8)) {
    svg += line("axis", x(tick), height - bottom, x(tick), height - bottom + 5);
    svg += label(x(tick), height - bottom + 18, "middle", rounded(tick));
  }
  svg += line("axis", left, height - bottom, width - right, height - bottom);
  svg += line("axis", left, top, left, height - bottom);
  svg += label((left + width - right) / 2, height - 8, "middle", chart.x_label);
  const double middle = (top + height - bottom) / 2;
  return svg +
         label(16, middle, "middle", chart.y_label, cat(" transform=\"rotate(-90 16 ", coordinate(middle), ")\""));
}

std::string draw(const Series& series, const Scale& x, const Scale& y) {
  std::string path, dots;
  for (const auto& [px, py] : series.points) {
    if (!std::isfinite(px) || !std::isfinite(py)) continue;
    path += cat(path.empty() ? "M" : "L", coordinate(x(px)), " ", coordinate(y(py)));
    if (series.dots) {
      dots += cat("<circle class=\"", series.style, "\" cx=\"", coordinate(x(px)), "\" cy=\"", coordinate(y(py)),
                  "\" r=\"3\"/>\n");
    }
  }
  return path.empty() ? "" : cat("<path class=\"", series.style, "\" d=\"", path, "\"/>\n", dots);
}

std::string legend(const Chart& chart) {
  std::string svg;
  double x = left + 10;
  for (const Series& series : chart.series) {
    if (series.points.empty()) continue;
    svg += line(series.style.c_str(), x, 14, x + 24, 14) + label(x + 30, 18, "start", series.name);
    x += 50 + 7 * static_cast<double>(series.name.size());
  }
  return svg;
}

}  // namespace

std::vector<double> axis_ticks(double low, double high, int about) {
  const double raw = (high - low) / about;
  const double power = std::pow(10, std::floor(std::log10(raw)));
  const double ratio = raw / power;
  const double step = power * (ratio <= 1 ? 1 : ratio <= 2 ? 2 : ratio <= 5 ? 5 : 10);
  std::vector<double> ticks;
  for (double tick = std::ceil(low / step) * step; tick <= high + step * 1e-9; tick += step) {
    ticks.push_back(std::abs(tick) < step * 1e-9 ? 0 : tick);
  }
  return ticks;
}

std::string rounded(double value) {
  char text[32];
  const double size = std::abs(value);
  if (size >= 1e7 || (size > 0 && size < 1e-3)) {
    std::snprintf(text, sizeof text, "%.3g", value);
  } else if (size >= 1000 || value == std::round(value)) {
    std::snprintf(text, sizeof text, "%.0f", value);
  } else {
    std::snprintf(text, sizeof text, "%.4g", value);
  }
  return text;
}

std::string escape_xml(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

std::string chart_svg(const Chart& chart) {
  Range xs, ys;
  for (const Series& series : chart.series) {
    for (const auto& [x, y] : series.points) {
      if (!std::isfinite(x) || !std::isfinite(y)) continue;
      xs.include(x);
      ys.include(y);
    }
  }
  if (xs.low > xs.high) return "<p>Nothing was recorded.</p>\n";
  xs.include(0);
  if (xs.high <= xs.low) xs.high = xs.low + 1;
  const double margin = ys.high > ys.low ? 0.05 * (ys.high - ys.low) : std::max(1e-9, 0.1 * std::abs(ys.high));
  const Scale x{xs.low, xs.high, left, width - right};
  const Scale y{ys.low - margin, ys.high + margin, height - bottom, top};
  std::string svg = cat("<svg viewBox=\"0 0 ", width, " ", height, "\" role=\"img\" aria-label=\"",
                        escape_xml(chart.y_label), "\">\n", axes(chart, x, y));
  for (const Series& series : chart.series) svg += draw(series, x, y);
  return svg + legend(chart) + "</svg>\n";
}

}  // namespace xinslm
