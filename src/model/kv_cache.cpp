#include "xinslm/model/kv_cache.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "xinslm/core/device.h"
#include "xinslm/core/error.h"
#include "xinslm/core/huge_pages.h"
#include "xinslm/quant/formats.h"

namespace xinslm {
namespace {

constexpr int64_t first_capacity = 256;

/// Tokens [first, first + count), a view.
StoredHeads tokens_of(const StoredHeads& heads, int64_t first, int64_t count) {
  const auto part = [&](const at::Tensor& x) { return x.defined() ? x.narrow(2, first, count) : x; };
  return {part(heads.values), part(heads.scales)};
}

void copy(const StoredHeads& from, const StoredHeads& to) {
  to.values.copy_(from.values);
  if (to.scales.defined()) to.scales.copy_(from.scales);
}

StoredHeads joined(const StoredHeads& a, const StoredHeads& b) {
  return {at::cat({a.values, b.values}, 2), a.scales.defined() ? at::cat({a.scales, b.scales}, 2) : at::Tensor()};
}

}  // namespace

std::string kv_type_name(at::ScalarType kv_type) {
  return kv_type == at::kChar ? "q8" : compute_type_name(kv_type);
}

int64_t kv_row_bytes(int64_t head_dim, at::ScalarType kv_type) {
  const auto size = [](at::ScalarType type) { return static_cast<int64_t>(c10::elementSize(type)); };
  return head_dim * size(kv_type) + (kv_type == at::kChar ? size(at::kFloat) : 0);
}

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

/// Room for keys and for values, one behind the other, so that they fill large pages sooner.
std::pair<StoredHeads, StoredHeads> KvCache::empty_pair(int64_t tokens) const {
  const auto of = [&](at::IntArrayRef sizes, at::ScalarType type) {
    return device_.is_cpu() ? empty_from_huge_page(sizes, type)
                            : at::empty(sizes, at::TensorOptions().device(device_).dtype(type));
  };
  const at::Tensor values = of({2, batch_, heads_, tokens, head_dim_}, type_);
  if (type_ != at::kChar) return {{values[0], {}}, {values[1], {}}};
  const at::Tensor scales = of({2, batch_, heads_, tokens}, at::kFloat);
  return {{values[0], scales[0]}, {values[1], scales[1]}};
}

void KvCache::reserve(Layer& layer, int64_t tokens) const {
  const int64_t capacity = layer.keys.values.defined() ? layer.keys.values.size(2) : 0;
  if (tokens <= capacity) return;
  int64_t larger = std::max({tokens, 2 * capacity, first_capacity});
  if (layer.window > 0) larger = std::min(larger, 2 * layer.window);
  auto [keys, values] = empty_pair(larger);
  if (layer.held > 0) {
    copy(tokens_of(layer.keys, 0, layer.held), tokens_of(keys, 0, layer.held));
    copy(tokens_of(layer.values, 0, layer.held), tokens_of(values, 0, layer.held));
  }
  layer.keys = keys;
  layer.values = values;
}

/// Moves the last `seen` tokens of a windowed layer to the front.
void KvCache::forget_unseen(Layer& layer, int64_t seen) const {
  for (const StoredHeads* store : {&layer.keys, &layer.values}) {
    if (!store->values.defined()) continue;
    const StoredHeads last = tokens_of(*store, layer.held - seen, seen);  // may overlap their new place
    copy({last.values.clone(), last.scales.defined() ? last.scales.clone() : at::Tensor()}, tokens_of(*store, 0, seen));
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
  return {layer.keys.values,   layer.values.values,   layer.keys.scales,
          layer.values.scales, layer.held - 1 - seen, seen + 1};
}

std::pair<StoredHeads, StoredHeads> KvCache::append(int64_t index, const at::Tensor& keys, const at::Tensor& values) {
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
  store_heads(keys, values, tokens_of(layer.keys, layer.held, tokens), tokens_of(layer.values, layer.held, tokens));
  layer.held += tokens;
  const int64_t first = layer.held - seen - tokens;
  return {tokens_of(layer.keys, first, seen + tokens), tokens_of(layer.values, first, seen + tokens)};
}

/// More new tokens than a windowed layer has room for: they see each other, but only the last `window` are kept.
std::pair<StoredHeads, StoredHeads> KvCache::append_long(Layer& layer, int64_t seen, const at::Tensor& keys,
                                                         const at::Tensor& values) const {
  const int64_t tokens = keys.size(2), total = seen + tokens;
  auto all = empty_pair(tokens);
  store_heads(keys, values, all.first, all.second);
  if (seen > 0) {
    all.first = joined(tokens_of(layer.keys, layer.held - seen, seen), all.first);
    all.second = joined(tokens_of(layer.values, layer.held - seen, seen), all.second);
  }
  layer.start = length_ + tokens - layer.window;
  layer.held = 0;
  reserve(layer, layer.window);
  copy(tokens_of(all.first, total - layer.window, layer.window), tokens_of(layer.keys, 0, layer.window));
  copy(tokens_of(all.second, total - layer.window, layer.window), tokens_of(layer.values, 0, layer.window));
  layer.held = layer.window;
  return all;
}

int64_t KvCache::bytes() const {
  size_t sum = 0;
  for (const Layer& layer : layers_) {
    for (const StoredHeads* store : {&layer.keys, &layer.values}) {
      if (store->values.defined()) sum += store->values.nbytes();
      if (store->scales.defined()) sum += store->scales.nbytes();
    }
  }
  return static_cast<int64_t>(sum);
}

}  // namespace xinslm
