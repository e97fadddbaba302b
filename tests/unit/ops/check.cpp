#include "unit/ops/check.h"

#include <torch/csrc/autograd/autograd.h>

#include <algorithm>

#include "xinslm/core/error.h"
#include "xinslm/core/random.h"

namespace xinslm::test {
namespace {

at::Tensor prepared(const at::Tensor& x, at::ScalarType type) {
  if (!x.defined() || !x.is_floating_point()) return x;
  return x.detach().to(type).requires_grad_(true);
}

bool is_differentiable(const at::Tensor& x) {
  return x.defined() && x.is_floating_point();
}

double at_place(const at::Tensor& x, int64_t place) {
  return x.view(-1)[place].item<double>();
}

}  // namespace

at::Tensor normal(at::IntArrayRef sizes, uint64_t seed, at::ScalarType type) {
  at::Tensor x = at::empty(sizes, at::TensorOptions().dtype(at::kFloat));
  RandomStream stream{seed, 17};
  for (int64_t i = 0; i < x.numel(); ++i) x.mutable_data_ptr<float>()[i] = static_cast<float>(stream.normal());
  return x.to(type);
}

Tensors forward_and_backward(const Operator& op, const Tensors& inputs) {
  Tensors leaves, results;
  for (const at::Tensor& x : inputs) leaves.push_back(prepared(x, x.defined() ? x.scalar_type() : at::kFloat));
  const at::Tensor out = op(leaves);
  results.push_back(out.detach());
  Tensors wanted;
  std::copy_if(leaves.begin(), leaves.end(), std::back_inserter(wanted), is_differentiable);
  const auto grads = torch::autograd::grad({out}, wanted, {normal(out.sizes(), 99, out.scalar_type())});
  results.insert(results.end(), grads.begin(), grads.end());
  return results;
}

double distance(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor difference = (a.to(at::kDouble) - b.to(at::kDouble)).abs();
  if (difference.numel() == 0) return 0;
  return difference.max().item<double>() / std::max(1e-3, b.to(at::kDouble).abs().max().item<double>());
}

void expect_matches(const Operator& fast, const Operator& reference, const Tensors& inputs,
                    const std::vector<size_t>& kept, Tolerance tolerance) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    Tensors rounded = inputs, exact;
    for (size_t i = 0; i < inputs.size(); ++i) {
      const bool keeps = std::find(kept.begin(), kept.end(), i) != kept.end();
      if (is_differentiable(inputs[i]) && !keeps) rounded[i] = inputs[i].to(type);
      exact.push_back(is_differentiable(inputs[i]) ? rounded[i].to(at::kDouble) : inputs[i]);
    }
    const Tensors expected = forward_and_backward(reference, exact);
    const double allowed = type == at::kFloat ? tolerance.float32 : tolerance.bfloat16;
    const Isa before = active_isa();
    for (const Isa isa : supported_isas()) {
      set_active_isa(isa);
      const Tensors found = forward_and_backward(fast, rounded), again = forward_and_backward(fast, rounded);
      ASSERT_EQ(found.size(), expected.size());
      for (size_t i = 0; i < found.size(); ++i) {
        const std::string what =
            isa_name(isa) + " " + c10::toString(type) + (i ? " gradient " : " output ") + std::to_string(i);
        ASSERT_EQ(found[i].sizes(), expected[i].sizes()) << what;
        EXPECT_LE(distance(found[i], expected[i]), allowed) << what;
        EXPECT_TRUE(found[i].equal(again[i])) << what << " differs between two runs";
      }
    }
    set_active_isa(before);
  }
}

void expect_gradient_is_difference(const Operator& op, const Tensors& inputs) {
  Tensors wide;
  for (const at::Tensor& x : inputs) wide.push_back(is_differentiable(x) ? x.to(at::kDouble) : x);
  const Tensors found = forward_and_backward(op, wide);
  const at::Tensor grad_out = normal(found[0].sizes(), 99, at::kDouble);
  const auto value = [&](const Tensors& at_inputs) { return (op(at_inputs) * grad_out).sum().item<double>(); };
  size_t gradient = 1;
  for (size_t i = 0; i < wide.size(); ++i) {
    if (!is_differentiable(wide[i])) continue;
    const int64_t stride = std::max<int64_t>(1, wide[i].numel() / 7);
    for (int64_t place = 0; place < wide[i].numel(); place += stride) {
      constexpr double step = 1e-5;
      Tensors plus = wide, minus = wide;
      plus[i] = wide[i].contiguous().clone();
      minus[i] = wide[i].contiguous().clone();
      plus[i].view(-1)[place] += step;
      minus[i].view(-1)[place] -= step;
      const double difference = (value(plus) - value(minus)) / (2 * step);
      EXPECT_NEAR(at_place(found[gradient].contiguous(), place), difference, 1e-5 * (1 + std::abs(difference)))
          << "input " << i << " element " << place;
    }
    ++gradient;
  }
}

void expect_usage_error(const std::function<void()>& call, const std::string& text) {
  try {
    call();
    ADD_FAILURE() << "no error; expected one with: " << text;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
  }
}

}  // namespace xinslm::test
