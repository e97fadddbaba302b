#include "xinslm/train/metrics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "unit/format/temporary_folder.h"
#include "xinslm/core/file.h"
#include "xinslm/train/loss_curve.h"
#include "xinslm/train/report.h"

namespace xinslm {
namespace {

TrainRecord record_at(int64_t step) {
  TrainRecord record;
  record.step = step;
  record.loss = 5.0 / static_cast<double>(step);
  record.smoothed_loss = record.loss;
  record.experts = {{.load = {0.25, 0.75}, .variation = 0.5, .router_entropy = 0.6, .effective_experts = 1.7}};
  return record;
}

MetricsHistory some_history() {
  MetricsHistory history;
  for (int64_t step = 10; step <= 100; step += 10) history.train.push_back(record_at(step));
  history.validation.push_back({.step = 50, .loss = 0.2, .bits_per_byte = 0.1, .perplexity = 1.2});
  history.validation.push_back({.step = 100, .loss = 0.1, .bits_per_byte = 0.05, .perplexity = 1.1});
  return history;
}

size_t count(const std::string& text, const std::string& part) {
  size_t found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

}  // namespace

using Metrics = TemporaryFolder;

TEST_F(Metrics, ReadBackWhatWasWritten) {
  TrainRecord record = record_at(10);
  record.peak_share = std::numeric_limits<double>::quiet_NaN();
  {
    MetricsFile file(folder_ / "metrics.jsonl", 0);
    file.write(record);
    file.write(ValidationRecord{.step = 10, .loss = 1.5, .averaged = true});
  }
  const MetricsHistory history = read_metrics(folder_ / "metrics.jsonl");
  ASSERT_EQ(history.train.size(), 1u);
  EXPECT_EQ(history.train[0].step, 10);
  EXPECT_DOUBLE_EQ(history.train[0].loss, 0.5);
  EXPECT_TRUE(std::isnan(history.train[0].peak_share));
  EXPECT_EQ(history.train[0].experts[0].load, (std::vector<double>{0.25, 0.75}));
  ASSERT_EQ(history.validation.size(), 1u);
  EXPECT_TRUE(history.validation[0].averaged);
}

TEST_F(Metrics, AResumedRunDropsLinesOfStepsItMakesAgain) {
  const auto path = folder_ / "metrics.jsonl";
  {
    MetricsFile file(path, 0);
    for (int64_t step = 1; step <= 5; ++step) file.write(record_at(step));
  }
  {
    MetricsFile file(path, 3);
    file.write(record_at(4));
  }
  const MetricsHistory history = read_metrics(path);
  ASSERT_EQ(history.train.size(), 4u);
  EXPECT_EQ(history.train.back().step, 4);
}

TEST_F(Metrics, TheLastValidationIsNotToldTwice) {
  const auto path = folder_ / "metrics.jsonl";
  {
    MetricsFile file(path, 0);
    file.write(ValidationRecord{.step = 2});
    file.write(record_at(4));
    file.write(ValidationRecord{.step = 4});
  }
  { MetricsFile file(path, 4, true); }
  EXPECT_EQ(read_metrics(path).train.size(), 1u);
  EXPECT_EQ(read_metrics(path).validation.size(), 1u);
}

TEST_F(Metrics, ALineCutOffByACrashIsDropped) {
  const auto path = folder_ / "metrics.jsonl";
  {
    MetricsFile file(path, 0);
    file.write(record_at(1));
  }
  write_file(path, read_file(path) + "{\"kind\": \"tra");
  {
    MetricsFile file(path, 2);
    file.write(record_at(2));
  }
  EXPECT_EQ(read_metrics(path).train.size(), 2u);
}

TEST_F(Metrics, ErrorsNameTheLine) {
  put("metrics.jsonl", "{\"kind\": \"train\"}\n");
  EXPECT_TRUE(contains(data_error_of([&] { read_metrics(folder_ / "metrics.jsonl"); }), "metrics.jsonl:1"));
}

TEST(Report, IsOnePageWithAChartForEachQuantityAndAHeatMapForEachLayer) {
  const std::string html = report_html(some_history(), "a < b", 0.04, "model:\n  note: \"<x>\"\n");
  EXPECT_NE(html.find("a &lt; b"), std::string::npos);
  EXPECT_NE(html.find("&lt;x&gt;"), std::string::npos);
  EXPECT_EQ(count(html, "<svg"), 6u);  // loss, bits, learning rate, speed, gradient norm, one layer
  EXPECT_EQ(count(html, "</svg>"), 6u);
  EXPECT_NE(html.find("prefers-color-scheme"), std::string::npos);
  EXPECT_EQ(html.find("http"), std::string::npos);
  EXPECT_EQ(html.find("nan"), std::string::npos);
}

TEST(Report, SurvivesARunWithoutRecords) {
  EXPECT_NE(report_html({}, "empty", std::nan(""), "").find("Nothing was recorded"), std::string::npos);
}

TEST(LossCurve, ShowsBothLossesWithinItsSize) {
  const std::string plot = loss_curve_text(some_history(), 60, 12);
  EXPECT_NE(plot.find("o"), std::string::npos);
  EXPECT_NE(plot.find("100 steps"), std::string::npos);
  EXPECT_EQ(count(plot, "\n"), 12u);
  std::istringstream lines(plot);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 60u + 10u);
}

TEST(LossCurve, IsEmptyWithoutPoints) {
  EXPECT_EQ(loss_curve_text({}), "");
}

}  // namespace xinslm
