#include "ops/cpu/row_kernels.h"

#include "kernels/kernel_values.h"
#include "ops/dropout_key.h"

namespace xinslm::test {
namespace {

constexpr int64_t rows = 3, widths[] = {1, 3, 4, 7, 64, 67};

void check_rows(Element e, int64_t width, std::mt19937& random, Checks& checks) {
  const RowKernels& kernels = row_kernels();
  const Values x = random_values(e, rows * width, random), bias = random_values(element_float32, width, random);

  Values shifted(e, x.numbers());
  kernels.add_bias[e](shifted.data(), bias.floats(), rows, width);
  Doubles expected = x.numbers();
  for (int64_t i = 0; i < rows * width; ++i) expected[i] += bias[i % width];
  checks.near(shifted, expected, at_size("add_bias", rows, width));

  Values sums(element_float32, bias.numbers());
  kernels.add_columns[e](x.data(), rows, width, sums.floats());
  expected = bias.numbers();
  for (int64_t i = 0; i < rows * width; ++i) expected[i % width] += x[i];
  checks.near(sums, expected, at_size("add_columns", rows, width));

  Values sum(element_float32, bias.numbers());
  kernels.accumulate[e](sum.floats(), x.data(), width);
  expected = bias.numbers();
  for (int64_t i = 0; i < width; ++i) expected[i] += x[i];
  checks.near(sum, expected, at_size("accumulate", 1, width));

  Values scaled(e, width);
  kernels.scale[e](bias.floats(), 0.37f, scaled.data(), width);
  expected = bias.numbers();
  for (double& number : expected) number *= 0.37f;
  checks.near(scaled, expected, at_size("scale", 1, width));

  const int64_t listed[] = {2, 0, 2};
  Values scratch(element_float32, width), out(e, width);
  kernels.sum_rows[e](x.data(), listed, 3, width, scratch.floats(), out.data());
  for (int64_t i = 0; i < width; ++i) expected[i] = 2 * x[2 * width + i] + x[i];
  checks.near(out, expected, at_size("sum_rows", 3, width));
}

void check_rms_norm(Element e, int64_t width, std::mt19937& random, Checks& checks) {
  constexpr double eps = 1e-5;
  const Values x = random_values(e, rows * width, random), gain = random_values(element_float32, width, random);
  const Values grad_y = random_values(e, rows * width, random);
  Values y(e, rows * width), inverse(element_float32, rows), grad_x(e, rows * width);
  Values grad_gain = random_values(element_float32, width, random);
  Doubles expected_y, expected_inverse, expected_grad_x, expected_grad_gain = grad_gain.numbers();
  for (int64_t row = 0; row < rows; ++row) {
    double squares = 0, products = 0;
    for (int64_t i = row * width; i < (row + 1) * width; ++i) squares += x[i] * x[i];
    const double factor = 1 / std::sqrt(squares / width + eps);
    expected_inverse.push_back(factor);
    for (int64_t i = 0; i < width; ++i) {
      const int64_t at = row * width + i;
      expected_y.push_back(x[at] * factor * gain[i]);
      products += grad_y[at] * gain[i] * x[at] * factor;
      expected_grad_gain[i] += grad_y[at] * x[at] * factor;
    }
    for (int64_t i = 0; i < width; ++i) {
      const int64_t at = row * width + i;
      expected_grad_x.push_back((grad_y[at] * gain[i] - x[at] * factor * products / width) * factor);
    }
  }
  const RmsNormKernels& kernels = rms_norm_kernels();
  kernels.forward[e](x.data(), gain.floats(), eps, y.data(), inverse.floats(), rows, width);
  checks.near(y, expected_y, at_size("rms_norm", rows, width));
  checks.near(inverse, expected_inverse, at_size("inverse_rms", rows, width));
  kernels.backward[e](x.data(), gain.floats(), inverse.floats(), grad_y.data(), grad_x.data(), grad_gain.floats(), rows,
                      width);
  // With a width of 1 the gradient is a small difference of numbers near 1.
  checks.near(grad_x, expected_grad_x, at_size("rms_norm's grad_x", rows, width), width == 1 ? 1e-2 : 1e-5);
  checks.near(grad_gain, expected_grad_gain, at_size("rms_norm's grad_gain", rows, width));
}

void check_rotary(Element e, int64_t half, std::mt19937& random, Checks& checks) {
  const int64_t x_stride = 2 * half + 3, y_stride = 2 * half;
  const Values x = random_values(e, rows * x_stride, random);
  const Values cos = random_values(element_float32, half, random), sin = random_values(element_float32, half, random);
  for (const float sign : {1.0f, -1.0f}) {
    Values y(e, rows * y_stride);
    Doubles expected(static_cast<size_t>(rows * y_stride));
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t i = 0; i < half; ++i) {
        const double a = x[row * x_stride + i], b = x[row * x_stride + half + i];
        expected[row * y_stride + i] = a * cos[i] - b * sin[i] * sign;
        expected[row * y_stride + half + i] = b * cos[i] + a * sin[i] * sign;
      }
    }
    rotary_kernels().turn[e](x.data(), x_stride, y.data(), y_stride, rows, half, cos.floats(), sin.floats(), sign);
    checks.near(y, expected, at_size("rotary", rows, half));
  }
}

void check_dropout(Element e, int64_t size, std::mt19937& random, Checks& checks) {
  const DropoutKey key(0.3, 0x123456789abcdefULL);
  const Values x = random_values(e, size, random);
  for (const int64_t first :
       {int64_t{0}, int64_t{41}, (int64_t{1} << 32) - 5}) {  // the last passes to the next high word
    Values y(e, size);
    Doubles expected;
    for (int64_t i = 0; i < size; ++i) {
      const auto low = static_cast<uint32_t>(first + i), high = static_cast<uint32_t>((first + i) >> 32);
      const uint32_t word = mix_word(mix_word(low ^ key.first) + high * DropoutKey::high_step + key.second);
      expected.push_back(word >= key.threshold ? x[i] * key.scale : 0);
    }
    dropout_kernels().apply[e](x.data(), y.data(), first, size, key.first, key.second, key.threshold, key.scale);
    checks.near(y, expected, at_size("dropout", 1, size));
  }
}

void check_largest(int64_t size, std::mt19937& random, Checks& checks) {
  Values x = random_values(element_float32, size, random);
  const auto check = [&](int64_t expected, const char* what) {
    const int64_t found = row_kernels().largest(x.floats(), size);
    checks.at_most(found == expected ? 0 : 1, 0, at_size(what, found, size));
  };
  for (const int64_t place : {int64_t{0}, size / 3, size / 2, size - 1}) {
    x = random_values(element_float32, size, random);
    x.set(place, 100);
    check(place, "largest");
    if (place > 0) x.set(0, HUGE_VAL - HUGE_VAL);  // none
    x.set(size - 1, 100);
    check(place, "largest of equals");
  }
  for (int64_t i = 0; i < size; ++i) x.set(i, -HUGE_VAL);
  check(0, "largest of nothing");
}

}  // namespace

void check_row_kernels(Checks& checks) {
  std::mt19937 random(3);
  for (const int64_t size : {1, 2, 5, 16, 63, 64, 65, 200, 1003}) check_largest(size, random, checks);
  for (const Element e : all_elements) {
    for (const int64_t width : widths) {
      check_rows(e, width, random, checks);
      check_rms_norm(e, width, random, checks);
      check_rotary(e, width, random, checks);
      check_dropout(e, width, random, checks);
    }
  }
}

}  // namespace xinslm::test
