#pragma once
#include <string>
#include <vector>

namespace xinslm {

/// A picture of shares that add up to one, column by column.
struct HeatMap {
  struct Column {
    double x = 0;
    std::vector<double> shares = {};
  };
  std::string x_label = {}, y_label = {};
  std::vector<Column> columns = {};  ///< oldest first
};

/// An <svg>; neighbouring columns are averaged when there are more than a screen can show. A share of twice the average
/// or more has the full colour.
std::string heat_map_svg(const HeatMap& map);

}  // namespace xinslm
