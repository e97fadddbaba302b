// Norm, rotation, products, lookups and attention.
#include <ATen/ATen.h>

#include "eval/doctor/operator_cases.h"
#include "xinslm/core/error.h"
#include "xinslm/core/random.h"
#include "xinslm/ops/attention.h"
#include "xinslm/ops/dropout.h"
#include "xinslm/ops/embedding.h"
#include "xinslm/ops/linear.h"
#include "xinslm/ops/rms_norm.h"
#include "xinslm/ops/rotary.h"

namespace xinslm::doctor {
namespace {

at::Tensor on_device_of(const at::Tensor& constant, const at::Tensor& x) {
  return constant.defined() ? constant.to(x.device()) : constant;
}

void add_rms_norm(std::vector<OperatorCase>& cases, int64_t rows, int64_t width) {
  cases.push_back({.subject = "rms_norm",
                   .sizes = cat("[", rows, ", ", width, "]"),
                   .op = [](const Tensors& t) { return Tensors{rms_norm(t[0], t[1], 1e-5)}; },
                   .reference = [](const Tensors& t) { return Tensors{rms_norm_ref(t[0], t[1], 1e-5)}; },
                   .inputs = {normal({rows, width}, 1), normal({width}, 2)},
                   .wide = {1}});
}

void add_rotary(std::vector<OperatorCase>& cases, int64_t heads, int64_t tokens, int64_t width) {
  const auto table = rotary_table({}, width, 3, tokens, at::kCPU);
  const auto with = [table](auto op) {
    return [=](const Tensors& t) {
      return Tensors{op(t[0], on_device_of(table.first, t[0]), on_device_of(table.second, t[0]))};
    };
  };
  cases.push_back({.subject = "rotary",
                   .sizes = cat("[2, ", heads, ", ", tokens, ", ", width, "]"),
                   .op = with(rotary),
                   .reference = with(rotary_ref),
                   .inputs = {normal({2, heads, tokens, width}, 1)}});
}

void add_rms_norm_rotary(std::vector<OperatorCase>& cases, int64_t heads, int64_t tokens, int64_t width) {
  const auto table = rotary_table({}, width, 3, tokens, at::kCPU);
  const auto both = [table](const Tensors& t) {
    return Tensors{
        rms_norm_rotary(t[0], t[1], 1e-5, on_device_of(table.first, t[0]), on_device_of(table.second, t[0]))};
  };
  const auto reference = [table](const Tensors& t) {
    return Tensors{rotary_ref(rms_norm_ref(t[0], t[1], 1e-5), table.first, table.second)};
  };
  cases.push_back({.subject = "rms_norm_rotary",
                   .sizes = cat("[2, ", heads, ", ", tokens, ", ", width, "]"),
                   .op = both,
                   .reference = reference,
                   .inputs = {normal({2, heads, tokens, width}, 1), normal({width}, 2)},
                   .wide = {1}});
}

void add_linear(std::vector<OperatorCase>& cases, int64_t tokens, int64_t in, int64_t out) {
  cases.push_back({.subject = "linear",
                   .sizes = cat("[", tokens, ", ", in, "] to ", out),
                   .op = [](const Tensors& t) { return Tensors{linear(t[0], t[1], t[2])}; },
                   .reference = [](const Tensors& t) { return Tensors{linear_ref(t[0], t[1], t[2])}; },
                   .inputs = {normal({tokens, in}, 1), normal({out, in}, 2), normal({out}, 3)},
                   .wide = {2}});
}

void add_embedding(std::vector<OperatorCase>& cases, int64_t words, int64_t width) {
  const at::Tensor tokens = at::arange(75, at::kLong).mul(7).remainder(words / 2).view({3, 25});
  cases.push_back({.subject = "embedding",
                   .sizes = cat("[", words, ", ", width, "], 75 tokens"),
                   .op = [](const Tensors& t) { return Tensors{xinslm::embedding(t[0], t[1])}; },
                   .reference = [](const Tensors& t) { return Tensors{embedding_ref(t[0], t[1])}; },
                   .inputs = {normal({words, width}, 1), tokens}});
}

void add_dropout(std::vector<OperatorCase>& cases) {
  cases.push_back({.subject = "dropout",
                   .sizes = "[37, 41]",
                   .op = [](const Tensors& t) { return Tensors{xinslm::dropout(t[0], 0.3, 5)}; },
                   .reference = [](const Tensors& t) { return Tensors{dropout_ref(t[0], 0.3, 5)}; },
                   .inputs = {normal({37, 41}, 1)}});
}

struct AttentionSizes {
  int64_t batch, heads, kv_heads, queries, keys, width, window;
  bool sinks, documents;
};

std::string text(const AttentionSizes& s) {
  return cat(s.heads, "/", s.kv_heads, " heads, ", s.queries, " of ", s.keys, " tokens, width ", s.width,
             s.window > 0 ? cat(", window ", s.window) : "", s.sinks ? ", sinks" : "",
             s.documents ? ", documents" : "");
}

void add_attention(std::vector<OperatorCase>& cases, const AttentionSizes& s) {
  using Attention = at::Tensor (*)(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, int64_t,
                                   const at::Tensor&);
  const auto with = [window = s.window](Attention op) {
    return [=](const Tensors& t) { return Tensors{op(t[0], t[1], t[2], t[3], window, t[4])}; };
  };
  const at::Tensor position = at::arange(s.keys, at::kLong);
  cases.push_back(
      {.subject = s.queries == 1 ? "attention, one query" : "attention",
       .sizes = text(s),
       .op = with(attention),
       .reference = with(attention_ref),
       .inputs = {normal({s.batch, s.heads, s.queries, s.width}, 1), normal({s.batch, s.kv_heads, s.keys, s.width}, 2),
                  normal({s.batch, s.kv_heads, s.keys, s.width}, 3), s.sinks ? normal({s.heads}, 4) : at::Tensor(),
                  s.documents ? position.div(37, "floor").repeat({s.batch, 1}) : at::Tensor()},
       .wide = {3}});
}

}  // namespace

at::Tensor normal(at::IntArrayRef sizes, uint64_t seed) {
  RandomStream random({random_for::doctor_values, seed});
  at::Tensor x = at::empty(sizes, at::kFloat);
  auto* values = x.mutable_data_ptr<float>();
  for (int64_t i = 0; i < x.numel(); ++i) values[i] = static_cast<float>(random.normal());
  return x;
}

void add_plain_cases(std::vector<OperatorCase>& cases) {
  add_rms_norm(cases, 37, 20);
  add_rms_norm(cases, 5, 2880);
  add_rotary(cases, 3, 9, 64);
  add_rotary(cases, 5, 31, 22);
  add_rms_norm_rotary(cases, 3, 9, 64);
  add_linear(cases, 1, 96, 67);
  add_linear(cases, 131, 80, 51);
  add_embedding(cases, 64, 24);
  add_dropout(cases);
}

void add_attention_cases(std::vector<OperatorCase>& cases) {
  add_attention(cases, {2, 4, 2, 64, 64, 64, 0, false, false});
  add_attention(cases, {1, 4, 2, 131, 131, 64, 0, true, false});
  add_attention(cases, {1, 3, 1, 7, 7, 24, 0, true, false});
  add_attention(cases, {1, 2, 1, 130, 130, 32, 1, true, false});
  add_attention(cases, {1, 2, 1, 200, 200, 32, 64, true, false});
  add_attention(cases, {2, 2, 1, 33, 150, 32, 50, true, true});
  add_attention(cases, {1, 2, 1, 1, 97, 80, 0, true, false});
  add_attention(cases, {1, 8, 1, 1, 300, 64, 128, true, false});
}

std::vector<OperatorCase> operator_cases() {
  std::vector<OperatorCase> cases;
  add_plain_cases(cases);
  add_attention_cases(cases);
  add_cache_cases(cases);
  add_expert_cases(cases);
  add_packed_cases(cases);
  add_training_cases(cases);
  return cases;
}

}  // namespace xinslm::doctor
