#include "xinslm/ops/attention.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "ops/checks.h"
#include "ops/cpu/attention.h"
#include "ops/cpu/dispatch.h"
#include "ops/mps/attention.h"

namespace xinslm {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct AttentionFunction : torch::autograd::Function<AttentionFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& query, const at::Tensor& key,
                            const at::Tensor& value, const std::optional<at::Tensor>& sinks, int64_t window,
                            const std::optional<at::Tensor>& document_ids) {
    const AttentionInput input{query, key, value, tensor_of(sinks), window, tensor_of(document_ids), {}, {}};
    const AttentionOutput output =
        mps::has_attention(query) ? mps::attention_forward(input) : cpu::attention_forward(input);
    context->save_for_backward({query, key, value, input.sinks, input.document_ids, output.out, output.log_sum});
    context->saved_data["window"] = window;
    return output.out;
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto saved = context->get_saved_variables();
    const int64_t window = context->saved_data["window"].toInt();
    const AttentionInput input{saved[0], saved[1], saved[2], saved[3], window, saved[4], {}, {}};
    const AttentionOutput output{saved[5], saved[6]};
    const AttentionGradients gradients = mps::has_attention(input.query)
                                             ? mps::attention_backward(input, output, grads[0])
                                             : cpu::attention_backward(input, output, grads[0]);
    const at::Tensor sinks = saved[3].defined() ? gradients.sinks.to(saved[3].scalar_type()) : at::Tensor();
    return {gradients.query, gradients.key, gradients.value, sinks, {}, {}};
  }
};

}  // namespace

void check_attention_sizes(const AttentionInput& input) {
  const auto& [query, key, value, sinks, window, document_ids, key_scales, value_scales] = input;
  require(query.dim() == 4 && key.dim() == 4, "attention: query is ", query.sizes(), " and key ", key.sizes(),
          ", expected [B, Q, T, D] and [B, K, S, D]");
  require(key.sizes() == value.sizes(), "attention: key is ", key.sizes(), ", value ", value.sizes(),
          "; they must agree");
  require(query.size(0) == key.size(0) && query.size(3) == key.size(3), "attention: query is ", query.sizes(), ", key ",
          key.sizes(), "; batch and head width must agree");
  require(key.size(1) > 0 && query.size(1) % key.size(1) == 0, "attention: ", key.size(1), " key heads do not divide ",
          query.size(1), " query heads");
  require(query.size(2) <= key.size(2), "attention: ", query.size(2), " queries but only ", key.size(2),
          " keys; the queries are the last of the positions");
  require(window >= 0, "attention: window is ", window, "; 0 means full attention");
  require(!sinks.defined() || sinks.sizes() == at::IntArrayRef{query.size(1)}, "attention: sinks are ",
          sinks.defined() ? sinks.sizes() : at::IntArrayRef{}, ", expected one for each of ", query.size(1),
          " query heads");
  require(!document_ids.defined() || (document_ids.dim() == 2 && document_ids.size(0) == key.size(0) &&
                                      document_ids.size(1) == key.size(2) && document_ids.scalar_type() == at::kLong),
          "attention: document_ids are not int64 [B, S] = [", key.size(0), ", ", key.size(2), "]");
}

at::Tensor attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const at::Tensor& sinks,
                     int64_t window, const at::Tensor& document_ids) {
  const AttentionInput input{query, key, value, sinks, window, document_ids, {}, {}};
  check_attention_sizes(input);
  require(query.scalar_type() == key.scalar_type() && key.scalar_type() == value.scalar_type(),
          "attention: query, key and value are ", query.scalar_type(), ", ", key.scalar_type(), ", ",
          value.scalar_type(), "; they must have one type");
  const bool has_metal = mps::has_attention(query);
  if (!has_metal && !cpu::is_fast(query)) return attention_ref(query, key, value, sinks, window, document_ids);
  if (at::GradMode::is_enabled() &&
      (needs_gradient(query) || needs_gradient(key) || needs_gradient(value) || needs_gradient(sinks))) {
    return AttentionFunction::apply(query, key, value, optional_of(sinks), window, optional_of(document_ids));
  }
  if (has_metal) return mps::attention_inference(input);
  constexpr int64_t few_queries = 4;  // from here on packing the keys pays
  return query.size(2) <= few_queries ? cpu::attention_decode(input) : cpu::attention_forward(input).out;
}

}  // namespace xinslm
