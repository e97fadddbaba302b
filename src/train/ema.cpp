#include "xinslm/train/ema.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

namespace xinslm {

Ema::Ema(const Transformer& masters, double decay) : masters_(masters), decay_(decay) {
  for (const auto& [name, master] : masters.parameters()) averages_.emplace_back(name, master.detach().clone());
}

void Ema::update(int64_t n) {
  at::NoGradGuard no_grad;
  const double decay = std::min(decay_, static_cast<double>(1 + n) / static_cast<double>(10 + n));
  for (size_t i = 0; i < averages_.size(); ++i) {
    averages_[i].second.lerp_(masters_.parameters()[i].second, 1 - decay);
  }
}

Transformer Ema::model(at::ScalarType type) const {
  Transformer model(masters_.config(), masters_.device(), type);
  for (const auto& [name, average] : averages_) model.set_parameter(name, average);
  return model;
}

NamedTensors Ema::state() const {
  NamedTensors state;
  for (const auto& [name, average] : averages_) state.emplace_back(name + suffix, average);
  return state;
}

void Ema::restore(const StateTensors& state) {
  for (const auto& [name, average] : averages_) state.restore(name + suffix, average);
}

}  // namespace xinslm
