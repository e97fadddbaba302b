#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "xinslm/config/model_config.h"
#include "xinslm/ops/stored_heads.h"

namespace xinslm {

/// "q8" of 8-bit integers, else the name of the type.
std::string kv_type_name(at::ScalarType kv_type);

/// Bytes of a token's key or value of one head: `head_dim` numbers of that type, with their scales.
int64_t kv_row_bytes(int64_t head_dim, at::ScalarType kv_type);

/// Keys and values of the tokens seen so far, one sequence or a batch of equal length, in float32, bfloat16, float16 or
/// 8-bit integers (at::kChar: with a float32 scale for each token and head, the largest magnitude / 127). Full
/// layers hold every token (capacity grows by doubling); windowed layers hold their last `window` tokens, and room for
/// as many again so that moving them is rare.
class KvCache {
 public:
  /// @throws Error(usage) for another type, or integers where head_dim is no multiple of 32
  KvCache(const ModelConfig& config, int64_t batch, at::Device device, at::ScalarType type);

  /// Tokens seen so far: the position of the next one.
  int64_t length() const { return length_; }

  /// Forgets all tokens from `length` on. @return false, and nothing is forgotten, when a windowed layer no longer
  /// holds what it would need: the caller must then clear() and compute the prefix again
  bool truncate(int64_t length);
  void clear();

  /// Appends keys and values [B, K, T, D] of the tokens at length()...length()+T-1 for one layer and gives the keys and
  /// values those T tokens may see, oldest first: [B, K, S, D] with S >= T; the last T are the new ones. The result is
  /// valid until the next append to the same layer.
  /// @throws Error(usage) for another batch or head shape than the cache was made for
  std::pair<StoredHeads, StoredHeads> append(int64_t layer, const at::Tensor& keys, const at::Tensor& values);

  /// Room for one token of one sequence in a layer, for who writes keys and values there directly.
  struct Place {
    at::Tensor keys, values;              ///< [1, K, capacity, D]
    at::Tensor key_scales, value_scales;  ///< [1, K, capacity] float32, with integers only
    int64_t first, count;                 ///< the tokens it may see, itself included, are [first, first + count)
  };
  /// Like append() of one token, whose key and value the caller writes at first + count - 1.
  Place extend(int64_t layer);

  int64_t batch() const { return batch_; }
  at::ScalarType type() const { return type_; }

  /// Called once after all layers appended T tokens.
  void advance(int64_t tokens) { length_ += tokens; }

  /// Memory held now, in bytes.
  int64_t bytes() const;

 private:
  struct Layer {
    int64_t window = 0;  // 0 = full
    int64_t start = 0;   // position of the first token held
    int64_t held = 0;
    StoredHeads keys, values;  // of the capacity in place of S
  };

  void check_shape(const at::Tensor& keys, const at::Tensor& values) const;
  void drop_unfinished(Layer& layer) const;
  void reserve(Layer& layer, int64_t tokens) const;
  std::pair<StoredHeads, StoredHeads> empty_pair(int64_t tokens) const;
  void forget_unseen(Layer& layer, int64_t seen) const;
  std::pair<StoredHeads, StoredHeads> append_long(Layer& layer, int64_t seen, const at::Tensor& keys,
                                                  const at::Tensor& values) const;

  std::vector<Layer> layers_;
  int64_t length_ = 0;
  int64_t batch_, heads_, head_dim_;
  at::Device device_;
  at::ScalarType type_;
};

}  // namespace xinslm
