// Products with packed weights as arm64 computes them, each instruction set beside plain arithmetic; run by an
// emulator.
#include "kernels/packed_blocks.h"
#include "ops/cpu/packed_kernels.h"

using namespace xinslm;
using namespace xinslm::test;

namespace {

struct Quantized {
  std::vector<int8_t> codes;
  std::vector<float> scales;
  std::vector<DotStart> starts;
  std::vector<double> worth;
  QuantizedRows rows() const { return {codes.data(), scales.data(), starts.data()}; }
};

/// With the row beyond the last that products read.
Quantized quantized(const PackedKernels& kernels, const std::vector<float>& x, int64_t rows, int64_t blocks) {
  const auto all = static_cast<size_t>((rows + 1) * blocks);
  Quantized q{std::vector<int8_t>(all * block), std::vector<float>(all), std::vector<DotStart>(all), {}};
  kernels.quantize(x.data(), rows * blocks, q.codes.data(), q.scales.data(), q.starts.data());
  for (size_t i = 0; i < x.size(); ++i) q.worth.push_back(static_cast<double>(q.codes[i]) * q.scales[i / block]);
  return q;
}

void check_products(const PackedKernels& kernels, const char* name, Checks& checks) {
  std::mt19937 random(1);
  for (const int64_t blocks : {1, 2, 5}) {
    const auto four = random_mxfp4(blocks, random);
    const auto eight = random_q8(blocks, random);
    for (int64_t rows = 1; rows <= 67; ++rows) {
      const std::vector<float> x = random_floats(rows * blocks * block, random);
      const Quantized q = quantized(kernels, x, rows, blocks);
      double rounding = 0;
      for (size_t i = 0; i < x.size(); ++i) {
        rounding = std::max(rounding, std::abs(x[i] - q.worth[i]) / q.scales[i / block]);
      }
      checks.at_most(rounding, 0.5001, name, rows, blocks);
      std::vector<float> out(static_cast<size_t>(rows * group_rows));
      kernels.mxfp4(four.values.data(), four.scales.data(), blocks, q.rows(), rows, out.data(), group_rows);
      checks.at_most(distance(out, q.worth, rows, four.weights), 2e-6, name, rows, blocks);
      kernels.q8(eight.values.data(), eight.scales.data(), blocks, q.rows(), rows, out.data(), group_rows);
      checks.at_most(distance(out, q.worth, rows, eight.weights), 2e-6, name, rows, blocks);
    }
  }
}

void check_rows_times_vector(const PackedKernels& kernels, const char* name, Checks& checks) {
  std::mt19937 random(2);
  for (const int64_t width : {1, 7, 64, 67}) {
    const std::vector<float> matrix = random_floats(group_rows * width, random), x = random_floats(width, random);
    std::vector<float> out(group_rows);
    kernels.rows_times_vector[element_float32](matrix.data(), width, group_rows, x.data(), out.data());
    checks.at_most(distance(out, {x.begin(), x.end()}, 1, {matrix.begin(), matrix.end()}), 1e-5, name, 1, width);
  }
}

}  // namespace

int main() {
  Checks checks;
  for (const Isa isa : {Isa::scalar, Isa::neon_dotprod, Isa::neon_i8mm}) {
    set_active_isa(isa);
    check_products(packed_kernels(), isa_name(isa).c_str(), checks);
    check_rows_times_vector(packed_kernels(), isa_name(isa).c_str(), checks);
    std::printf("%s: checked\n", isa_name(isa).c_str());
  }
  return checks.failures();
}
