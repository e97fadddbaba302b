#include "xinslm/quant/quant_error.h"

#include <cmath>
#include <limits>
#include <vector>

#include "quant/rows.h"
#include "xinslm/core/error.h"
#include "xinslm/quant/formats.h"

namespace xinslm {
namespace {

double relative(double squared_error, double squared_sum) {
  if (squared_error == 0) return 0;
  return squared_sum == 0 ? std::numeric_limits<double>::infinity() : std::sqrt(squared_error / squared_sum);
}

QuantError row_error(std::span<const float> original, std::span<const float> decoded, int64_t row) {
  QuantError total{.worst_row = row};
  for (size_t first = 0; first < original.size(); first += quant_block) {
    double squared_error = 0, squared_sum = 0;
    for (size_t i = first; i < first + quant_block; ++i) {
      const double x = original[i], difference = x - decoded[i];
      squared_error += difference * difference;
      squared_sum += x * x;
    }
    total.squared_error += squared_error;
    total.squared_sum += squared_sum;
    if (const double block = relative(squared_error, squared_sum); block > total.worst_block) {
      total.worst_block = block;
      total.worst_column = static_cast<int64_t>(first);
    }
  }
  return total;
}

}  // namespace

double QuantError::relative_rms() const {
  return relative(squared_error, squared_sum);
}

QuantError quant_error(const at::Tensor& original, const at::Tensor& decoded) {
  if (original.sizes() != decoded.sizes()) {
    usage_error("quant_error: the decoded tensor is ", decoded.sizes(), ", expected ", original.sizes());
  }
  const at::Tensor values = float_rows(original, "original"), others = float_rows(decoded, "decoded");
  std::vector<QuantError> errors(values.numel() / values.size(-1));
  for_values_of_rows(values, [&](int64_t row, std::span<const float> x) {
    std::vector<float> y(x.size());
    read_row(others, row, y);
    errors[row] = row_error(x, y, row);
  });
  QuantError total;
  for (const QuantError& row : errors) {
    total.squared_error += row.squared_error;
    total.squared_sum += row.squared_sum;
    if (row.worst_block > total.worst_block) {
      total.worst_block = row.worst_block;
      total.worst_row = row.worst_row;
      total.worst_column = row.worst_column;
    }
  }
  return total;
}

}  // namespace xinslm
