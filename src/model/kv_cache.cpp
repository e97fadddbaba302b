#include "xinslm/model/kv_cache.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "xinslm/core/error.h"
#include "xinslm/core/huge_pages.h"
#include "xinslm/quant/quant_error.h"

namespace xinslm {
namespace {

constexpr int64_t first_capacity = 256;

}  // namespace

KvCache::KvCache(const ModelConfig& config, int64_t batch, at::Device device, at::ScalarType type)
    : batch_(batch), heads_(config.num_key_value_heads), head_dim_(config.head_dim), device_(device), type_(type) {
  if (type != at::kFloat && type != at::kBFloat16 && type != at::kHalf && type != at::kChar) {
    usage_error("the KV cache keeps float32, bfloat16, float16 or 8-bit integers, not ", type);
  }
  if (type == at::kChar && head_dim_ % quant_block != 0) {
    usage_error("8-bit keys and values need heads of a multiple of ", quant_block, " values; this model's have ",
                head_dim_);
  }
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    layers_.emplace_back().window = config.window(layer);
  }
}

bool KvCache::truncate(int64_t length) {
  if (length >= length_) return true;
  for (const Layer& layer : layers_) {
    const int64_t needed = layer.window == 0 ? 0 : std::max<int64_t>(0, length - layer.window + 1);
    if (layer.start > needed) return false;
  }
  for (Layer& layer : layers_) layer.held = std::min(layer.held, length - layer.start);
  length_ = length;
  return true;
}

void KvCache::clear() {
  for (Layer& layer : layers_) layer.start = layer.held = 0;
  length_ = 0;
}

void KvCache::check_shape(const at::Tensor& keys, const at::Tensor& values) const {
  const bool fits = keys.dim() == 4 && keys.size(0) == batch_ && keys.size(1) == heads_ && keys.size(3) == head_dim_ &&
                    values.sizes() == keys.sizes();
  if (!fits) {
    usage_error("the KV cache holds [", batch_, ", ", heads_, ", tokens, ", head_dim_, "], but keys are ", keys.sizes(),
                " and values ", values.sizes());
  }
}

/// A pass that an exception ended has appended to some layers only; its tokens never counted.
void KvCache::drop_unfinished(Layer& layer) const {
  if (layer.start > length_ || (layer.window > 0 && layer.start > std::max<int64_t>(0, length_ - layer.window + 1))) {
    runtime_failure("an interrupted pass left the KV cache incomplete; clear it and compute the prefix again");
  }
  layer.held = std::min(layer.held, length_ - layer.start);
}

void KvCache::reserve(Layer& layer, int64_t tokens) const {
  const int64_t capacity = layer.keys.codes.defined() ? layer.keys.codes.size(2) : 0;
  if (tokens <= capacity) return;
  int64_t larger = std::max({tokens, 2 * capacity, first_capacity});
  if (layer.window > 0) larger = std::min(larger, 2 * layer.window);
  const auto grow = [&](at::Tensor& old, int64_t width, at::ScalarType type) {
    at::Tensor grown = at::empty({batch_, heads_, larger, width}, at::TensorOptions().device(device_).dtype(type));
    if (device_.is_cpu()) use_huge_pages(grown);
    if (layer.held > 0) grown.narrow(2, 0, layer.held).copy_(old.narrow(2, 0, layer.held));
    old = grown;
  };
  for (Store* store : {&layer.keys, &layer.values}) {
    grow(store->codes, head_dim_, type_);
    if (type_ == at::kChar) grow(store->scales, head_dim_ / quant_block, at::kFloat);
  }
}

KvCache::Store KvCache::encoded(const at::Tensor& x) const {
  if (type_ != at::kChar) return {x, {}};
  const at::Tensor blocks = x.to(at::kFloat).unflatten(-1, {-1, quant_block});
  const at::Tensor scales = blocks.abs().amax(-1) / 127;
  const at::Tensor inverse = at::where(scales > 0, scales.reciprocal(), scales);
  return {(blocks * inverse.unsqueeze(-1)).round().to(at::kChar).flatten(-2), scales};
}

/// Tokens [first, first + count) of a store.
at::Tensor KvCache::decoded(const Store& store, int64_t first, int64_t count, at::ScalarType type) {
  const at::Tensor codes = store.codes.narrow(2, first, count);
  if (!store.scales.defined()) return codes.to(type);
  const at::Tensor blocks = codes.to(at::kFloat).unflatten(-1, {-1, quant_block});
  return (blocks * store.scales.narrow(2, first, count).unsqueeze(-1)).flatten(-2).to(type);
}

/// Moves the last `seen` tokens of a windowed layer to the front.
void KvCache::forget_unseen(Layer& layer, int64_t seen) const {
  const auto move = [&](at::Tensor& held) {
    if (!held.defined()) return;
    held.narrow(2, 0, seen).copy_(held.narrow(2, layer.held - seen, seen).clone());  // the two may overlap
  };
  for (Store* store : {&layer.keys, &layer.values}) {
    move(store->codes);
    move(store->scales);
  }
  layer.start += layer.held - seen;
  layer.held = seen;
}

/// Writes keys or values [B, K, T, D] at tokens [first, first + T).
void KvCache::write(Store& store, int64_t first, const at::Tensor& x) const {
  const Store fresh = encoded(x);
  store.codes.narrow(2, first, x.size(2)).copy_(fresh.codes);
  if (fresh.scales.defined()) store.scales.narrow(2, first, x.size(2)).copy_(fresh.scales);
}

KvCache::Place KvCache::extend(int64_t index) {
  Layer& layer = layers_.at(static_cast<size_t>(index));
  drop_unfinished(layer);
  const int64_t seen = layer.window == 0 ? layer.held : std::min(layer.held, layer.window - 1);
  if (layer.window > 0 && layer.held + 1 > 2 * layer.window) forget_unseen(layer, seen);
  reserve(layer, layer.held + 1);
  ++layer.held;
  return {layer.keys.codes,    layer.values.codes,    layer.keys.scales,
          layer.values.scales, layer.held - 1 - seen, seen + 1};
}

std::pair<at::Tensor, at::Tensor> KvCache::append(int64_t index, const at::Tensor& keys, const at::Tensor& values) {
  check_shape(keys, values);
  Layer& layer = layers_.at(static_cast<size_t>(index));
  drop_unfinished(layer);
  const int64_t tokens = keys.size(2);
  const int64_t seen = layer.window == 0 ? layer.held : std::min(layer.held, layer.window - 1);
  if (layer.window > 0 && layer.held + tokens > 2 * layer.window) {
    if (seen + tokens > 2 * layer.window) return append_long(layer, seen, keys, values);
    forget_unseen(layer, seen);
  }
  reserve(layer, layer.held + tokens);
  write(layer.keys, layer.held, keys);
  write(layer.values, layer.held, values);
  layer.held += tokens;
  const int64_t first = layer.held - seen - tokens;
  const auto visible = [&](const Store& store) { return decoded(store, first, seen + tokens, keys.scalar_type()); };
  return {visible(layer.keys), visible(layer.values)};
}

/// More new tokens than a windowed layer has room for: they see each other, but only the last `window` are kept.
std::pair<at::Tensor, at::Tensor> KvCache::append_long(Layer& layer, int64_t seen, const at::Tensor& keys,
                                                       const at::Tensor& values) const {
  const at::ScalarType type = keys.scalar_type();
  const int64_t tokens = keys.size(2), total = seen + tokens;
  std::pair<at::Tensor, at::Tensor> all;
  const auto join = [&](const Store& store, const at::Tensor& added) {
    const at::Tensor kept = decoded(encoded(added.to(type_ == at::kChar ? type : type_)), 0, tokens, type);
    return seen == 0 ? kept : at::cat({decoded(store, layer.held - seen, seen, type), kept}, 2);
  };
  all = {join(layer.keys, keys), join(layer.values, values)};
  layer.start = length_ + tokens - layer.window;
  layer.held = 0;
  reserve(layer, layer.window);
  write(layer.keys, 0, all.first.narrow(2, total - layer.window, layer.window));
  write(layer.values, 0, all.second.narrow(2, total - layer.window, layer.window));
  layer.held = layer.window;
  return all;
}

int64_t KvCache::bytes() const {
  size_t sum = 0;
  for (const Layer& layer : layers_) {
    for (const Store* store : {&layer.keys, &layer.values}) {
      if (store->codes.defined()) sum += store->codes.nbytes();
      if (store->scales.defined()) sum += store->scales.nbytes();
    }
  }
  return static_cast<int64_t>(sum);
}

}  // namespace xinslm
