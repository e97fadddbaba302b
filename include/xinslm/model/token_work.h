#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "xinslm/config/model_config.h"

namespace xinslm {

/// What one part of the model reads and computes for one token, all layers together.
struct TokenWork {
  std::string part;    ///< "experts"
  int64_t parameters;  ///< of the matrices read, or elements of keys and values
  int64_t bytes16;     ///< read with experts in MXFP4, the router in float32 and all else in 16 bits
  int64_t bytes8;      ///< the same with dense matrices in 8-bit blocks; keys and values stay in 16 bits
  double flops;        ///< a multiply-add counts two
};

/// The parts of generating one token after `length` others, in the order of the model: what a bound by memory follows
/// from. Norms, rotations and routing read the token's own activations only and are left out.
std::vector<TokenWork> token_work(const ModelConfig& config, int64_t length);

/// Their sum, under the part "all".
TokenWork total_work(const std::vector<TokenWork>& parts);

}  // namespace xinslm
