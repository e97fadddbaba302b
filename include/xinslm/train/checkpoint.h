#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <optional>
#include <string>

#include "xinslm/config/generation_settings.h"
#include "xinslm/format/safetensors.h"
#include "xinslm/model/transformer.h"
#include "xinslm/tokenizer/tokenizer.h"

namespace xinslm {

/// The numbers a run needs to go on, besides tensors. Random streams need none: they are keyed by seed and step.
struct TrainerState {
  int64_t step = 0;       ///< steps made
  int64_t batches = 0;    ///< used, which is the position of the next one
  int64_t updates = 0;    ///< optimiser steps made: steps without those skipped
  int64_t tokens = 0;     ///< seen, without the empty places of rows
  int64_t bad_steps = 0;  ///< skipped because of a loss or gradient that was not finite
  int64_t bad_in_a_row = 0;
  double seconds = 0;  ///< the run has taken
  double smoothed_loss = 0;
  double smoothing_weight = 0;                                        ///< sum of the weights in smoothed_loss
  double validation_loss = std::numeric_limits<double>::quiet_NaN();  ///< last measured
  double best_validation_loss = std::numeric_limits<double>::quiet_NaN();
  int64_t best_step = -1;  ///< of the checkpoint with that loss
  int64_t validations_without_gain = 0;
  std::string compute_type;  ///< what "auto" was resolved to
  std::string data_fingerprint;

  /// The last step whose loss was finite: the weights it began with, and any before, are sound.
  int64_t last_sound_step() const { return step - bad_in_a_row - 1; }
};

/// Checkpoints of a run: DIR/step-00001000/ is a model folder with the float32 masters, plus trainer_state.safetensors
/// and trainer_state.json; DIR/latest points at the newest, DIR/best at the one with the lowest validation loss. A
/// checkpoint appears whole or not at all. One from before losses that are not finite is kept.
class Checkpoints {
 public:
  /// @param keep  newest checkpoints kept; the best is kept besides, and one that a finite loss has followed
  Checkpoints(const std::filesystem::path& folder, int64_t keep);

  std::filesystem::path path(int64_t step) const;
  bool exists(int64_t step) const;

  /// Writes one and deletes those no longer kept. @throws Error(data) when the disk is full; older ones stay
  void save(const TrainerState& state, const NamedTensors& tensors, const Transformer& masters,
            const Tokenizer& tokenizer, const GenerationSettings& generation = {}) const;

  /// Makes the folder what it was, when it was copied with links followed, or lost the checkpoints that links name.
  void repair() const;

  /// Moves checkpoints after a step aside, where no run takes them up, and points `latest` at what is left. The best
  /// stays: its validation loss was finite.
  void set_aside_after(int64_t step, int64_t best_step) const;

 private:
  void link(const char* name, int64_t step) const;
  void prune(const TrainerState& state) const;

  std::filesystem::path folder_;
  int64_t keep_;
};

/// The newest whole checkpoint; those that are not are named in warnings. @param up_to  step
std::optional<std::filesystem::path> newest_checkpoint(const std::filesystem::path& folder,
                                                       int64_t up_to = std::numeric_limits<int64_t>::max());

/// Is there anything of a checkpoint, whole or not?
bool has_checkpoints(const std::filesystem::path& folder);

/// Is it a name that Checkpoints gives?
bool is_checkpoint_name(const std::string& name);

/// The weights of a checkpoint or any other model folder in float32. Those that are trained are copies that may be
/// written to, the others may stay in the file's map.
/// @param trained  which are (Transformer::train_only); all when empty
Transformer read_masters(const std::filesystem::path& folder, at::Device device,
                         const std::function<bool(const Parameter&)>& trained = {});

/// @throws Error(data) naming what is missing or damaged
TrainerState read_trainer_state(const std::filesystem::path& checkpoint);
NamedTensors read_trainer_tensors(const std::filesystem::path& checkpoint);

}  // namespace xinslm
