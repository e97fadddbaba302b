#include "train/svg_heat_map.h"

#include <algorithm>
#include <cstdio>

#include "train/svg_chart.h"
#include "xinslm/core/error.h"

namespace xinslm {
namespace {

constexpr double width = 900, left = 70, right = 20, bottom = 40, top = 4;
constexpr size_t most_columns = 200;

std::vector<HeatMap::Column> thinned(const std::vector<HeatMap::Column>& columns) {
  const size_t group = (columns.size() + most_columns - 1) / most_columns;
  std::vector<HeatMap::Column> result;
  for (size_t first = 0; first < columns.size(); first += group) {
    const size_t end = std::min(first + group, columns.size());
    HeatMap::Column mean{.x = columns[end - 1].x, .shares = std::vector<double>(columns[first].shares.size())};
    for (size_t i = first; i < end; ++i) {
      for (size_t e = 0; e < mean.shares.size(); ++e) {
        mean.shares[e] += columns[i].shares[e] / static_cast<double>(end - first);
      }
    }
    result.push_back(std::move(mean));
  }
  return result;
}

std::string cell(double x, double y, double cell_width, double cell_height, double share, double strength) {
  char text[192];
  std::snprintf(text, sizeof text,
                "<rect class=\"heat\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill-opacity=\"%.2f\">"
                "<title>%.1f%%</title></rect>\n",
                x, y, cell_width, cell_height, strength, 100 * share);
  return text;
}

std::string text(double x, double y, const char* anchor, const std::string& content) {
  return cat("<text x=\"", x, "\" y=\"", y, "\" text-anchor=\"", anchor, "\">", escape_xml(content), "</text>\n");
}

}  // namespace

std::string heat_map_svg(const HeatMap& map) {
  const std::vector<HeatMap::Column> columns = thinned(map.columns);
  if (columns.empty()) return "<p>Nothing was recorded.</p>\n";
  const size_t experts = columns[0].shares.size();
  const double cell_height = std::clamp(160.0 / static_cast<double>(experts), 5.0, 18.0);
  const double cell_width = (width - left - right) / static_cast<double>(columns.size());
  const double plot = cell_height * static_cast<double>(experts), height = top + plot + bottom;
  std::string svg = cat("<svg viewBox=\"0 0 ", width, " ", height, "\" role=\"img\" aria-label=\"expert load\">\n");
  for (size_t c = 0; c < columns.size(); ++c) {
    for (size_t e = 0; e < experts; ++e) {
      const double share = columns[c].shares[e];
      const double strength = std::clamp(share * static_cast<double>(experts) / 2, 0.0, 1.0);
      svg += cell(left + cell_width * static_cast<double>(c), top + cell_height * static_cast<double>(e), cell_width,
                  cell_height, share, strength);
    }
  }
  svg += text(left - 8, top + 11, "end", map.y_label + " 1");
  svg += text(left - 8, top + plot, "end", cat(experts));
  svg += text(left, top + plot + 16, "start", rounded(columns.front().x));
  svg += text(width - right, top + plot + 16, "end", rounded(columns.back().x));
  return svg + text((left + width - right) / 2, top + plot + 16, "middle", map.x_label) + "</svg>\n";
}

}  // namespace xinslm
