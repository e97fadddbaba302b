#include "xinslm/model/kv_cache.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "xinslm/core/error.h"
#include "xinslm/core/huge_pages.h"

namespace xinslm {
namespace {

constexpr int64_t first_capacity = 256;

}  // namespace

KvCache::KvCache(const ModelConfig& config, int64_t batch, at::Device device, at::ScalarType type)
    : batch_(batch), heads_(config.num_key_value_heads), head_dim_(config.head_dim), device_(device), type_(type) {
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
  const int64_t capacity = layer.keys.defined() ? layer.keys.size(2) : 0;
  if (tokens <= capacity) return;
  int64_t larger = std::max({tokens, 2 * capacity, first_capacity});
  if (layer.window > 0) larger = std::min(larger, 2 * layer.window);
  const auto grow = [&](at::Tensor& old) {
    at::Tensor grown = at::empty({batch_, heads_, larger, head_dim_}, at::TensorOptions().device(device_).dtype(type_));
    if (device_.is_cpu()) use_huge_pages(grown);
    if (layer.held > 0) grown.narrow(2, 0, layer.held).copy_(old.narrow(2, 0, layer.held));
    old = grown;
  };
  grow(layer.keys);
  grow(layer.values);
}

/// Moves the last `seen` tokens of a windowed layer to the front.
void KvCache::forget_unseen(Layer& layer, int64_t seen) const {
  for (at::Tensor* held : {&layer.keys, &layer.values}) {
    held->narrow(2, 0, seen).copy_(held->narrow(2, layer.held - seen, seen).clone());  // the two may overlap
  }
  layer.start += layer.held - seen;
  layer.held = seen;
}

KvCache::Place KvCache::extend(int64_t index) {
  Layer& layer = layers_.at(static_cast<size_t>(index));
  drop_unfinished(layer);
  const int64_t seen = layer.window == 0 ? layer.held : std::min(layer.held, layer.window - 1);
  if (layer.window > 0 && layer.held + 1 > 2 * layer.window) forget_unseen(layer, seen);
  reserve(layer, layer.held + 1);
  ++layer.held;
  return {layer.keys, layer.values, layer.held - 1 - seen, seen + 1};
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
  layer.keys.narrow(2, layer.held, tokens).copy_(keys);
  layer.values.narrow(2, layer.held, tokens).copy_(values);
  layer.held += tokens;
  const int64_t first = layer.held - seen - tokens;
  return {layer.keys.narrow(2, first, seen + tokens), layer.values.narrow(2, first, seen + tokens)};
}

/// More new tokens than a windowed layer has room for: they see each other, but only the last `window` are kept.
std::pair<at::Tensor, at::Tensor> KvCache::append_long(Layer& layer, int64_t seen, const at::Tensor& keys,
                                                       const at::Tensor& values) const {
  const auto join = [&](const at::Tensor& old, const at::Tensor& added) {
    return seen == 0 ? added : at::cat({old.narrow(2, layer.held - seen, seen), added}, 2);
  };
  const std::pair<at::Tensor, at::Tensor> all{join(layer.keys, keys), join(layer.values, values)};
  const int64_t total = seen + keys.size(2);
  layer.start = length_ + keys.size(2) - layer.window;
  layer.held = 0;
  reserve(layer, layer.window);
  layer.keys.narrow(2, 0, layer.window).copy_(all.first.narrow(2, total - layer.window, layer.window));
  layer.values.narrow(2, 0, layer.window).copy_(all.second.narrow(2, total - layer.window, layer.window));
  layer.held = layer.window;
  return all;
}

int64_t KvCache::bytes() const {
  size_t sum = 0;
  for (const Layer& layer : layers_) {
    if (layer.keys.defined()) sum += layer.keys.nbytes() + layer.values.nbytes();
  }
  return static_cast<int64_t>(sum);
}

}  // namespace xinslm
