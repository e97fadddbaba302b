#pragma once
#include <filesystem>

#include "xinslm/config/settings.h"
#include "xinslm/train/run_folder.h"
#include "xinslm/train/trainer.h"

namespace xinslm {

struct TrainRequest {
  Settings settings;
  RunFolder run;
  bool resume = false;         ///< go on with what the run folder holds
  bool replace = false;        ///< an earlier run in the folder may be deleted
  std::filesystem::path init;  ///< model folder whose weights and tokenizer a new run starts from; empty = none
};

/// A whole training run: opens or makes tokenizer, data and model, checks that they fit into memory, trains, and leaves
/// the finished model in the run folder.
/// @throws Error(usage) for settings that do not go together, a run folder in use, or changes that a resumed run cannot
///         take; Error(data) for files; Error(runtime) when training diverges
TrainingOutcome train(const TrainRequest& request);

}  // namespace xinslm
