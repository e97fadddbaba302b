#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <memory>
#include <utility>
#include <vector>

#include "model/block.h"

namespace xinslm {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// The members of a layer, in a fixed order.
std::vector<at::Tensor*> members(LayerWeights& w) {
  std::vector<at::Tensor*> all{&w.input_norm, &w.query_norm, &w.key_norm, &w.sinks, &w.mlp_norm};
  for (Projection* matrix : {&w.query, &w.key, &w.value, &w.output, &w.router, &w.gate_up, &w.down}) {
    all.push_back(&matrix->weight);
    all.push_back(&matrix->bias);
  }
  return all;
}

/// What the second computation needs besides tensors. Rides through autograd's saved data.
struct BlockCall : torch::CustomClassHolder {
  PassState pass;
  int64_t layer = 0;
  LayerWeights weights;  // tells which members are defined

  variable_list run(const at::Tensor& x, const LayerWeights& w) const {
    const BlockResult result = block(pass, layer, w, x);
    if (!result.chosen.defined()) return {result.hidden};
    return {result.hidden, result.router_logits, result.chosen};
  }
};

/// Inputs: x, then the layer's defined weights. Outputs: hidden and, in an MoE layer, router logits and choice.
struct CheckpointedBlock : torch::autograd::Function<CheckpointedBlock> {
  static variable_list forward(AutogradContext* context, const at::Tensor& x, const at::TensorList& weights,
                               const c10::intrusive_ptr<BlockCall>& call) {
    variable_list saved{x};
    saved.insert(saved.end(), weights.begin(), weights.end());
    context->save_for_backward(std::move(saved));
    context->saved_data["call"] = c10::IValue::make_capsule(call);
    context->set_materialize_grads(false);
    variable_list outputs = call->run(x, call->weights);
    if (outputs.size() > 1) context->mark_non_differentiable({outputs[2]});
    return outputs;
  }

  static variable_list backward(AutogradContext* context, const variable_list& output_gradients) {
    const auto call = c10::static_intrusive_pointer_cast<BlockCall>(context->saved_data["call"].toCapsule());
    variable_list inputs = context->get_saved_variables();
    variable_list wanted;
    for (at::Tensor& input : inputs) {
      const bool want = input.requires_grad();
      input = input.detach().requires_grad_(want);
      if (want) wanted.push_back(input);
    }
    const variable_list gradients = recompute(*call, inputs, wanted, output_gradients);
    variable_list result;
    size_t next = 0;
    for (const at::Tensor& input : inputs) result.push_back(input.requires_grad() ? gradients[next++] : at::Tensor());
    result.emplace_back();  // the call itself
    return result;
  }

 private:
  static variable_list recompute(const BlockCall& call, const variable_list& inputs, const variable_list& wanted,
                                 const variable_list& output_gradients) {
    LayerWeights weights = call.weights;
    size_t next = 1;
    for (at::Tensor* member : members(weights)) {
      if (member->defined()) *member = inputs[next++];
    }
    const at::AutoGradMode gradients(true);
    const variable_list outputs = call.run(inputs[0], weights);
    variable_list roots, root_gradients;
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (!output_gradients[i].defined() || !outputs[i].requires_grad()) continue;
      roots.push_back(outputs[i]);
      root_gradients.push_back(output_gradients[i]);
    }
    return torch::autograd::grad(roots, wanted, root_gradients, std::nullopt, false, /*allow_unused=*/true);
  }
};

}  // namespace

BlockResult checkpointed_block(const PassState& pass, int64_t layer, const LayerWeights& weights, const at::Tensor& x) {
  const auto call = c10::make_intrusive<BlockCall>();
  call->pass = pass;
  call->layer = layer;
  call->weights = weights;
  std::vector<at::Tensor> defined;
  for (const at::Tensor* member : members(call->weights)) {
    if (member->defined()) defined.push_back(*member);
  }
  const at::TensorList list(defined);
  const variable_list outputs = CheckpointedBlock::apply(x, list, call);
  if (outputs.size() == 1) return {outputs[0], {}, {}};
  return {outputs[0], outputs[1], outputs[2]};
}

}  // namespace xinslm
