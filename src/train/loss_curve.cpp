#include "xinslm/train/loss_curve.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

namespace xinslm {
namespace {

constexpr int label_width = 8;

struct Point {
  double x, y;
  char mark;
};

std::vector<Point> points_of(const MetricsHistory& history) {
  std::vector<Point> points;
  for (const TrainRecord& record : history.train) points.push_back({double(record.step), record.loss, '.'});
  for (const ValidationRecord& record : history.validation) points.push_back({double(record.step), record.loss, 'o'});
  std::erase_if(points, [](const Point& point) { return !std::isfinite(point.y); });
  return points;
}

std::string axis_label(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%*.3f", label_width - 2, value);
  return text;
}

}  // namespace

std::string loss_curve_text(const MetricsHistory& history, int width, int height) {
  const std::vector<Point> points = points_of(history);
  if (points.size() < 2) return "";
  const int columns = width - label_width, rows = height - 2;
  double low = points[0].y, high = low, last = 1;
  for (const Point& point : points) {
    low = std::min(low, point.y);
    high = std::max(high, point.y);
    last = std::max(last, point.x);
  }
  if (high <= low) high = low + 1;
  std::vector<std::string> grid(static_cast<size_t>(rows), std::string(static_cast<size_t>(columns), ' '));
  for (const Point& point : points) {
    const auto column = static_cast<size_t>(std::lround(point.x / last * (columns - 1)));
    const auto row = static_cast<size_t>(std::lround((high - point.y) / (high - low) * (rows - 1)));
    char& cell = grid[row][column];
    if (cell != 'o') cell = point.mark;
  }
  std::string text;
  for (int row = 0; row < rows; ++row) {
    const bool labelled = row == 0 || row == rows - 1 || row == rows / 2;
    text += labelled ? axis_label(high - (high - low) * row / (rows - 1)) : std::string(label_width - 2, ' ');
    std::string line = " |" + grid[static_cast<size_t>(row)];
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  text += std::string(label_width - 1, ' ') + "+" + std::string(static_cast<size_t>(columns), '-') + "\n";
  const std::string end = std::to_string(static_cast<long long>(last)) + " steps";
  std::string legend = std::string(label_width, ' ') + "0    loss (nats/token): . training  o validation";
  legend.resize(std::max(legend.size() + 1, static_cast<size_t>(width) - end.size()), ' ');
  return text + legend + end + "\n";
}

}  // namespace xinslm
