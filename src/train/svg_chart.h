#pragma once
#include <string>
#include <utility>
#include <vector>

namespace xinslm {

/// A line of a chart. style names a class of the page's style sheet.
struct Series {
  std::string name = {}, style = {};
  std::vector<std::pair<double, double>> points = {};  ///< points that are not finite are left out
  bool dots = false;
};

struct Chart {
  std::string x_label = {}, y_label = {};
  std::vector<Series> series = {};
};

/// An <svg> with axes, ticks, grid and legend; a sentence when there is nothing to draw.
std::string chart_svg(const Chart& chart);

/// Round numbers (1, 2 or 5 times a power of ten apart) that span low...high.
std::vector<double> axis_ticks(double low, double high, int about);

/// With as many digits as a reader needs.
std::string rounded(double value);

/// For use in HTML and SVG.
std::string escape_xml(const std::string& text);

}  // namespace xinslm
