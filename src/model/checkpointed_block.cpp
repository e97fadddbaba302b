#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/functions/accumulate_grad.h>

#include <algorithm>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "model/block.h"
#include "model/layout.h"
#include "xinslm/core/error.h"

namespace xinslm {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Node;
using torch::autograd::variable_list;

/// Calls body(tensor) for each parameter that the layer has, in the order of the table; packed ones have no tensor.
template <class Body>
void for_parameters(const PassState& pass, int64_t layer, LayerWeights& weights, const Body& body) {
  for (const ParameterSlot& slot : layer_layout(pass.config, layer, weights)) {
    if (slot.tensor->defined()) body(*slot.tensor);
  }
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

/// Whatever the layer computed with and wants a gradient must be one of the inputs: only theirs are handed on, any
/// other's would be lost without a word.
void refuse_lost_gradients(const BlockCall& call, const variable_list& roots, const variable_list& inputs) {
  const auto is_input = [&](const at::Tensor& leaf) {
    return std::ranges::any_of(inputs, [&](const at::Tensor& input) { return input.is_same(leaf); });
  };
  std::vector<Node*> left;
  std::set<const Node*> seen;
  const auto visit = [&](Node* node) {
    if (node != nullptr && seen.insert(node).second) left.push_back(node);
  };
  for (const at::Tensor& root : roots) visit(root.grad_fn().get());
  while (!left.empty()) {
    Node* node = left.back();
    left.pop_back();
    const auto* leaf = dynamic_cast<const torch::autograd::AccumulateGrad*>(node);
    if (leaf != nullptr && !is_input(leaf->variable)) {
      runtime_failure("gradient checkpointing: layer ", call.layer, " computes with a tensor ", leaf->variable.sizes(),
                      " that wants a gradient and is not in its list of parameters (src/model/layout.cpp)");
    }
    for (const auto& edge : node->next_edges()) visit(edge.function.get());
  }
}

/// Inputs: x, then the layer's parameters. Outputs: hidden and, in an MoE layer, router logits and choice.
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
    for_parameters(call.pass, call.layer, weights, [&](at::Tensor& parameter) { parameter = inputs[next++]; });
    const at::AutoGradMode gradients(true);
    const variable_list outputs = call.run(inputs[0], weights);
    variable_list roots, root_gradients;
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (!output_gradients[i].defined() || !outputs[i].requires_grad()) continue;
      roots.push_back(outputs[i]);
      root_gradients.push_back(output_gradients[i]);
    }
    refuse_lost_gradients(call, roots, inputs);
    return torch::autograd::grad(roots, wanted, root_gradients, std::nullopt, false, /*allow_unused=*/true);
  }
};

}  // namespace

BlockResult checkpointed_block(const PassState& pass, int64_t layer, const LayerWeights& weights, const at::Tensor& x) {
  const auto call = c10::make_intrusive<BlockCall>();
  call->pass = pass;
  call->layer = layer;
  call->weights = weights;
  std::vector<at::Tensor> parameters;
  for_parameters(pass, layer, call->weights, [&](const at::Tensor& parameter) { parameters.push_back(parameter); });
  const at::TensorList list(parameters);
  const variable_list outputs = CheckpointedBlock::apply(x, list, call);
  if (outputs.size() == 1) return {outputs[0], {}, {}};
  return {outputs[0], outputs[1], outputs[2]};
}

}  // namespace xinslm
