#pragma once
#include <cstdint>

#include "xinslm/config/settings.h"

namespace xinslm {

/// The learning rate over a run, as a share of its peak: linear warm-up, then cosine (Loshchilov & Hutter 2017),
/// linear, constant or wsd (constant, then a linear fall; Hu et al. 2024), down to min_lr_ratio.
///
/// A run is as long as its steps, or, with training.max_minutes, as its time: then the place on the curve is the share
/// of the time that has gone, whichever of the two limits is nearer.
class Schedule {
 public:
  /// @param total_steps  optimiser steps of the run; 0 = limited by time alone
  Schedule(const TrainingSettings& settings, int64_t total_steps);

  int64_t total_steps() const { return total_steps_; }

  /// Factor for the step about to be made.
  /// @param step     0 for the first
  /// @param seconds  that the run has taken so far, earlier sessions included
  double factor(int64_t step, double seconds) const;

  /// Share of the run that lies behind, in [0, 1].
  double share_done(int64_t step, double seconds) const;

  /// Seconds the run will still take at its pace so far; NaN before the first step.
  double seconds_left(int64_t step, double seconds) const;

 private:
  double shape(double share) const;

  TrainingSettings settings_;
  int64_t total_steps_;
};

/// Optimiser steps the settings ask for; 0 = limited by time alone. Every batch belongs to one: the last step may have
/// fewer.
/// @param batches  of all epochs
/// @param made     steps made already, from `used` of those batches
/// @throws Error(usage) when the settings ask for no step at all
int64_t planned_steps(const TrainingSettings& settings, int64_t batches, int64_t made = 0, int64_t used = 0);

}  // namespace xinslm
