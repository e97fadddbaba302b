#include "xinslm/train/ema.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

namespace xinslm {

Ema::Ema(const Transformer& masters, double decay) : masters_(masters), decay_(decay) {
  for (size_t i = 0; i < masters.table().size(); ++i) {
    const at::Tensor master = masters.parameters()[i].second.detach();
    if (masters.table()[i].trained) averages_.push_back({masters.table()[i].name, master, master.clone()});
  }
}

void Ema::update(int64_t n) {
  at::NoGradGuard no_grad;
  const double decay = std::min(decay_, static_cast<double>(1 + n) / static_cast<double>(10 + n));
  for (const Average& each : averages_) each.average.lerp_(each.master, 1 - decay);
}

Transformer Ema::model(at::ScalarType type) const {
  Transformer model = masters_.converted(masters_.device(), type);
  for (const Average& each : averages_) model.set_parameter(each.name, each.average);
  return model;
}

NamedTensors Ema::state() const {
  NamedTensors state;
  for (const Average& each : averages_) state.emplace_back(each.name + suffix, each.average);
  return state;
}

void Ema::restore(const StateTensors& state) {
  for (const Average& each : averages_) state.restore(each.name + suffix, each.average);
}

}  // namespace xinslm
