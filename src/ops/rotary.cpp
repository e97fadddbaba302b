#include "xinslm/ops/rotary.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "ops/checks.h"
#include "ops/cpu/dispatch.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/row_kernels.h"
#include "ops/mps/launch.h"
#include "ops/mps/rotary.h"
#include "xinslm/ops/rms_norm.h"

namespace xinslm {
namespace {

/// Dimension (of D/2) whose wave makes `turns` rotations over the original length.
double dimension_of_turns(const RopeSettings& rope, int64_t head_dim, double turns) {
  return head_dim / 2.0 * std::log(rope.original_max_position_embeddings / (turns * 2 * std::numbers::pi)) /
         std::log(rope.theta);
}

/// [D/2] float32, in the steps and precision the published weights were trained with.
at::Tensor inverse_frequencies(const RopeSettings& rope, int64_t head_dim) {
  const auto options = at::TensorOptions().dtype(at::kFloat);
  const at::Tensor frequency = at::pow(rope.theta, at::arange(0, head_dim, 2, options) / double(head_dim)).reciprocal();
  if (rope.type == "default" || rope.factor <= 1) return frequency;
  double low = dimension_of_turns(rope, head_dim, rope.beta_fast);
  double high = dimension_of_turns(rope, head_dim, rope.beta_slow);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, head_dim - 1.0);
  if (low == high) high += 0.001;  // a step instead of a ramp
  const at::Tensor interpolated = ((at::arange(head_dim / 2, options) - low) / (high - low)).clamp(0, 1);
  return frequency / rope.factor * interpolated + frequency * (1 - interpolated);
}

/// x with a dense last dimension; the result has tokens before heads in memory.
at::Tensor turn(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, int sign) {
  if (mps::is_fast(x)) return mps::rotary(x, cos, sin, sign);
  const int64_t batch = x.size(0), heads = x.size(1), tokens = x.size(2), width = x.size(3), half = width / 2;
  const at::Tensor y = at::empty_strided(x.sizes(), {tokens * heads * width, width, heads * width, 1}, x.options());
  const auto kernel = rotary_kernels().turn[cpu::element_of(x)];
  const int64_t rows = batch * tokens, size = x.element_size();
  cpu::for_parts(
      rows, cpu::count_parts(rows, cpu::rows_per_thread(heads * width)), [&](int64_t, int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          const int64_t b = row / tokens, t = row % tokens;
          kernel(cpu::bytes_of(x) + (b * x.stride(0) + t * x.stride(2)) * size, x.stride(1),
                 cpu::row_at(y, row, heads * width), width, heads, half, cos.const_data_ptr<float>() + t * half,
                 sin.const_data_ptr<float>() + t * half, static_cast<float>(sign));
        }
      });
  return y;
}

at::Tensor with_dense_rows(const at::Tensor& x) {
  return x.stride(3) == 1 ? x : x.contiguous();
}

void check(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  require(x.dim() == 4 && x.size(3) % 2 == 0, "rotary: x is ", x.sizes(), ", expected [B, heads, T, D] with D even");
  require(cos.sizes() == at::IntArrayRef({x.size(2), x.size(3) / 2}) && sin.sizes() == cos.sizes(),
          "rotary: cosines are ", cos.sizes(), " and sines ", sin.sizes(), ", expected [", x.size(2), ", ",
          x.size(3) / 2, "]");
}

struct RotaryFunction : torch::autograd::Function<RotaryFunction> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, const at::Tensor& cos,
                            const at::Tensor& sin) {
    context->save_for_backward({cos, sin});
    return turn(with_dense_rows(x), cos, sin, 1);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grads) {
    const auto saved = context->get_saved_variables();
    return {turn(with_dense_rows(grads[0]), saved[0], saved[1], -1), {}, {}};
  }
};

}  // namespace

std::pair<at::Tensor, at::Tensor> rotary_table(const RopeSettings& rope, int64_t head_dim, int64_t first, int64_t count,
                                               at::Device device) {
  require(rope.type == "default" || rope.type == "yarn", "rope type is '", rope.type, "'; known are default, yarn");
  const at::Tensor position = at::arange(first, first + count, at::TensorOptions().dtype(at::kFloat));
  const at::Tensor angle = position.unsqueeze(1) * inverse_frequencies(rope, head_dim).unsqueeze(0);
  const double factor = rope.type == "yarn" && rope.factor > 1 ? 0.1 * std::log(rope.factor) + 1 : 1.0;
  return {(angle.cos() * factor).to(device), (angle.sin() * factor).to(device)};
}

at::Tensor rotary(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  check(x, cos, sin);
  const bool fast = cpu::is_fast(x) || (mps::is_fast(x) && x.numel() > 0);
  if (!fast || cos.scalar_type() != at::kFloat || sin.scalar_type() != at::kFloat) {
    return rotary_ref(x, cos, sin);
  }
  if (at::GradMode::is_enabled() && x.requires_grad()) {
    return RotaryFunction::apply(x, cos.contiguous(), sin.contiguous());
  }
  return turn(with_dense_rows(x), cos.contiguous(), sin.contiguous(), 1);
}

at::Tensor rms_norm_rotary(const at::Tensor& x, const at::Tensor& gain, double eps, const at::Tensor& cos,
                           const at::Tensor& sin) {
  const bool fast = mps::is_fast(x) && mps::is_fast(gain) && x.numel() > 0 && cos.scalar_type() == at::kFloat &&
                    sin.scalar_type() == at::kFloat;
  const bool needs = at::GradMode::is_enabled() && (needs_gradient(x) || needs_gradient(gain));
  if (!fast || needs) return rotary(rms_norm(x, gain, eps), cos, sin);
  check(x, cos, sin);
  require(gain.dim() == 1 && gain.size(0) == x.size(3), "rms_norm_rotary: x is ", x.sizes(), ", gain ", gain.sizes(),
          "; their last sizes must agree");
  return mps::rms_norm_rotary(with_dense_rows(x), gain.to(at::kFloat).contiguous(), eps, cos.contiguous(),
                              sin.contiguous());
}

}  // namespace xinslm
