#pragma once
#include <cstdint>
#include <functional>

#include "xinslm/data/training_data.h"
#include "xinslm/model/transformer.h"

namespace xinslm {

struct ValidationScore {
  double loss = 0;  ///< mean negative log-likelihood, nats a token
  double bits_per_byte = 0;
  double perplexity = 0;
  int64_t tokens = 0;
};

/// Measures a model on held-out text, without dropout, smoothing or router bias.
/// @param max_batches  0 = all; fewer are taken evenly from the whole text, the same ones every time
/// @param on_progress  called with the share done, may be empty
ValidationScore validate_model(const Transformer& model, const EvalSource& source, int64_t max_batches,
                               const std::function<void(double)>& on_progress = {});

}  // namespace xinslm
