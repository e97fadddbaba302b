// Routing and experts, float and packed, and the products of packed matrices.
#include <ATen/ATen.h>

#include <memory>

#include "eval/doctor/operator_cases.h"
#include "xinslm/core/error.h"
#include "xinslm/ops/moe.h"
#include "xinslm/ops/packed.h"
#include "xinslm/quant/mxfp4.h"
#include "xinslm/quant/q8.h"

namespace xinslm::doctor {
namespace {

struct Sizes {
  int64_t tokens, hidden, width, experts, k;
};

std::string text(const Sizes& s) {
  return cat("[", s.tokens, ", ", s.hidden, "], ", s.k, " of ", s.experts, " experts of ", s.width);
}

/// k different experts for each token, never one of the last `unused`.
at::Tensor choices_of(const Sizes& s, int64_t unused) {
  return std::get<1>(normal({s.tokens, s.experts - unused}, 7).topk(s.k, -1));
}

void add_route(std::vector<OperatorCase>& cases, int64_t tokens, int64_t experts, int64_t k, bool before) {
  const auto route = [=](const Tensors& t) {
    const Routing routing = moe_route(t[0], k, before, {});
    return Tensors{routing.weights, routing.chosen};
  };
  cases.push_back({.subject = "moe_route",
                   .sizes = cat(k, " of ", experts, " experts for ", tokens, " tokens"),
                   .op = route,
                   .reference = route,
                   .inputs = {normal({tokens, experts}, 1)},
                   .wide = {0}});
}

void add_swiglu(std::vector<OperatorCase>& cases, double limit) {
  cases.push_back({.subject = "swiglu",
                   .sizes = cat("[37, 46], limit ", limit),
                   .op = [=](const Tensors& t) { return Tensors{swiglu(t[0], limit)}; },
                   .reference = [=](const Tensors& t) { return Tensors{swiglu_ref(t[0], limit)}; },
                   .inputs = {normal({37, 46}, 1) * 4}});
}

void add_experts(std::vector<OperatorCase>& cases, const Sizes& s, int64_t unused, bool biases, double limit) {
  const at::Tensor chosen = choices_of(s, unused);
  using Experts = at::Tensor (*)(const at::Tensor&, const Routing&, const ExpertWeights&, double);
  const auto with = [=](Experts op) {
    return [=](const Tensors& t) {
      return Tensors{op(t[0], {chosen.to(t[0].device()), t[1]}, {t[2], t[3], t[4], t[5]}, limit)};
    };
  };
  cases.push_back({.subject = "moe_experts",
                   .sizes = text(s),
                   .op = with(moe_experts),
                   .reference = with(moe_experts_ref),
                   .inputs = {normal({s.tokens, s.hidden}, 1), normal({s.tokens, s.k}, 2).softmax(-1),
                              normal({s.experts, s.hidden, 2 * s.width}, 3) * 0.3,
                              biases ? normal({s.experts, 2 * s.width}, 4) : at::Tensor(),
                              normal({s.experts, s.width, s.hidden}, 5) * 0.3,
                              biases ? normal({s.experts, s.hidden}, 6) : at::Tensor()},
                   .wide = {1, 3, 5},
                   .float32 = 5e-5,
                   .half = 3e-2});
}

c10::intrusive_ptr<Mxfp4Tensor> mxfp4(const at::Tensor& values) {
  const Mxfp4Blocks parts = quantize_mxfp4(values, ScaleRule::mse, 32, "weight");
  return Mxfp4Tensor::from_checkpoint(parts.blocks, parts.scales, "weight");
}

c10::intrusive_ptr<Q8Tensor> q8(const at::Tensor& values) {
  const Q8Blocks parts = quantize_q8(values, "weight");
  return Q8Tensor::from_checkpoint(parts.values, parts.scales, "weight");
}

/// Of a product, and of the two of an expert, when activations are rounded in blocks of 32.
constexpr double eight_bits = 2e-2;

template <class Packed>
void add_packed_linear(std::vector<OperatorCase>& cases, const char* subject, const c10::intrusive_ptr<Packed>& weight,
                       int64_t tokens) {
  const int64_t rows = weight->sizes()[0], in = weight->sizes()[1];
  const at::Tensor exact = weight->dequantize(at::kFloat), bias = normal({rows}, 3);
  cases.push_back({.subject = subject,
                   .sizes = cat("[", tokens, ", ", in, "] to ", rows),
                   .op =
                       [=](const Tensors& t) {
                         return Tensors{packed_linear(t[0], weight->to(t[0].device()), bias.to(t[0].device()))};
                       },
                   .reference = [=](const Tensors& t) { return Tensors{t[0].mm(exact.to(t[0]).t()) + bias}; },
                   .inputs = {normal({tokens, in}, 1)},
                   .eight_bits = eight_bits});
}

void add_decoding(std::vector<OperatorCase>& cases) {
  const auto four = mxfp4(normal({35, 160}, 2));
  const auto eight = q8(normal({35, 160}, 2));
  const auto decode = [=](const Tensors& t) {
    const auto device = t[0].device();
    return Tensors{four->to(device)->dequantize(at::kFloat), eight->to(device)->dequantize(at::kFloat)};
  };
  cases.push_back({.subject = "decoding of packed weights",
                   .sizes = "[35, 160]",
                   .op = decode,
                   .reference = decode,
                   .inputs = {normal({1}, 1)},
                   .float32 = 1e-7,
                   .half = 1e-7,
                   .differentiable = false});
}

void add_packed_embedding(std::vector<OperatorCase>& cases) {
  const auto table = q8(normal({61, 96}, 2));
  const at::Tensor tokens = at::arange(30, at::kLong).mul(7).remainder(61).view({2, 15});
  const at::Tensor exact = table->dequantize(at::kFloat);
  cases.push_back(
      {.subject = "packed_embedding",
       .sizes = "[61, 96], 30 tokens",
       .op = [=](const Tensors& t) { return Tensors{packed_embedding(table->to(t[0].device()), t[0], at::kFloat)}; },
       .reference = [=](const Tensors& t) { return Tensors{exact.index({t[0]})}; },
       .inputs = {tokens},
       .float32 = 1e-6,
       .half = 1e-6,
       .differentiable = false});
}

void add_packed_experts(std::vector<OperatorCase>& cases, const Sizes& s, int64_t unused) {
  const auto up = mxfp4(normal({s.experts, 2 * s.width, s.hidden}, 3) * 0.3);
  const auto down = mxfp4(normal({s.experts, s.hidden, s.width}, 5) * 0.3);
  const at::Tensor up_bias = normal({s.experts, 2 * s.width}, 4), down_bias = normal({s.experts, s.hidden}, 6);
  const at::Tensor chosen = choices_of(s, unused);
  const auto packed = [=](const Tensors& t) {
    const auto device = t[0].device();
    const PackedExpertWeights experts{std::make_shared<ExpertMatrices>(up->to(device)), up_bias.to(device),
                                      std::make_shared<ExpertMatrices>(down->to(device)), down_bias.to(device)};
    return Tensors{moe_experts(t[0], {chosen.to(device), t[1]}, experts, 7.0)};
  };
  const at::Tensor exact_up = up->dequantize(at::kFloat).transpose(1, 2);
  const at::Tensor exact_down = down->dequantize(at::kFloat).transpose(1, 2);
  const auto exact = [=](const Tensors& t) {
    const ExpertWeights experts{exact_up.to(t[0]), up_bias.to(t[0]), exact_down.to(t[0]), down_bias.to(t[0])};
    return Tensors{moe_experts_ref(t[0], {chosen, t[1]}, experts, 7.0)};
  };
  cases.push_back({.subject = "moe_experts, MXFP4",
                   .sizes = text(s),
                   .op = packed,
                   .reference = exact,
                   .inputs = {normal({s.tokens, s.hidden}, 1), normal({s.tokens, s.k}, 2).softmax(-1)},
                   .wide = {1},
                   .float32 = 5e-5,
                   .half = 6e-2,
                   .eight_bits = 2 * eight_bits});
}

}  // namespace

void add_expert_cases(std::vector<OperatorCase>& cases) {
  add_route(cases, 37, 8, 2, false);
  add_route(cases, 1, 32, 4, false);
  add_route(cases, 67, 6, 1, true);
  add_swiglu(cases, 7.0);
  add_swiglu(cases, 0.0);
  add_experts(cases, {37, 20, 11, 4, 2}, 0, true, 7.0);
  add_experts(cases, {50, 24, 16, 6, 1}, 5, false, 0.0);
  add_experts(cases, {1, 16, 16, 4, 4}, 0, true, 7.0);
}

void add_packed_cases(std::vector<OperatorCase>& cases) {
  add_decoding(cases);
  add_packed_embedding(cases);
  for (const int64_t tokens : {1, 3, 67}) {
    add_packed_linear(cases, "packed_linear, MXFP4", mxfp4(normal({67, 96}, 2)), tokens);
    add_packed_linear(cases, "packed_linear, 8 bits", q8(normal({35, 160}, 2)), tokens);
  }
  add_packed_experts(cases, {1, 32, 32, 4, 4}, 0);
  add_packed_experts(cases, {37, 64, 96, 8, 2}, 3);
  add_packed_experts(cases, {130, 96, 64, 3, 1}, 0);
}

}  // namespace xinslm::doctor
