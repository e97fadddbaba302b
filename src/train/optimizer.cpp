#include "xinslm/train/optimizer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "xinslm/ops/adamw.h"
#include "xinslm/train/muon.h"
#include "xinslm/train/state_tensors.h"

namespace xinslm {

Optimizer::Optimizer(const Transformer& masters, const Transformer& model, const TrainingSettings& settings)
    : settings_(settings), muon_type_(model.type()) {
  const bool muon = settings.optimizer == "muon";
  for (size_t i = 0; i < masters.parameters().size(); ++i) {
    const Parameter& parameter = masters.table()[i];
    if (!parameter.trained) continue;
    const at::Tensor computed = model.parameters()[i].second.detach();
    Slot slot;
    slot.index = i;
    slot.name = parameter.name;
    slot.group = parameter.group();
    slot.muon = muon && slot.group == OptimizerGroup::matrix;
    slot.master = masters.parameters()[i].second.detach();
    if (computed.data_ptr() != slot.master.data_ptr()) slot.compute = computed;
    slot.first = at::zeros_like(slot.master);
    if (!slot.muon) slot.second = at::zeros_like(slot.master);
    slots_.push_back(std::move(slot));
  }
}

void Optimizer::adamw(const Slot& slot, const at::Tensor& gradient, double factor, double gradient_scale) const {
  const AdamWStep step{.learning_rate = settings_.learning_rate * factor,
                       .beta1 = settings_.adam_beta1,
                       .beta2 = settings_.adam_beta2,
                       .eps = settings_.adam_epsilon,
                       .weight_decay = slot.group == OptimizerGroup::vector ? 0 : settings_.weight_decay,
                       .step = updates_,
                       .gradient_scale = gradient_scale};
  adamw_step(slot.master, gradient, slot.first, slot.second, slot.compute, step);
}

void Optimizer::step(const std::vector<at::Tensor>& gradients, double factor, double gradient_scale) {
  at::NoGradGuard no_grad;
  ++updates_;
  const MuonStep muon{.learning_rate = settings_.muon_learning_rate * factor,
                      .momentum = settings_.muon_momentum,
                      .weight_decay = settings_.weight_decay,
                      .gradient_scale = gradient_scale,
                      .type = muon_type_};
  for (const Slot& slot : slots_) {
    const at::Tensor& gradient = gradients[slot.index];
    if (!gradient.defined()) continue;
    if (slot.muon) {
      muon_step(slot.master, gradient, slot.first, slot.compute, muon);
    } else {
      adamw(slot, gradient, factor, gradient_scale);
    }
  }
}

NamedTensors Optimizer::state() const {
  NamedTensors state;
  for (const Slot& slot : slots_) {
    state.emplace_back(slot.name + (slot.muon ? ".momentum" : ".first"), slot.first);
    if (!slot.muon) state.emplace_back(slot.name + ".second", slot.second);
  }
  return state;
}

void Optimizer::restore(const StateTensors& state, int64_t updates) {
  for (const Slot& slot : slots_) {
    state.restore(slot.name + (slot.muon ? ".momentum" : ".first"), slot.first);
    if (!slot.muon) state.restore(slot.name + ".second", slot.second);
  }
  updates_ = updates;
}

}  // namespace xinslm
