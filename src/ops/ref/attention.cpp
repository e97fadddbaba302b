#include "xinslm/ops/attention.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "ops/ref/count.h"
#include "ops/ref/types.h"

namespace xinslm {
namespace {

/// [1 or B, 1, T, S] bool: query i may not see key j.
at::Tensor hidden_keys(int64_t queries, int64_t keys, int64_t window, const at::Tensor& document_ids,
                       at::Device device) {
  const auto options = at::TensorOptions().dtype(at::kLong).device(device);
  const at::Tensor query_position = at::arange(keys - queries, keys, options).unsqueeze(1);
  const at::Tensor key_position = at::arange(keys, options).unsqueeze(0);
  at::Tensor hidden = key_position > query_position;
  if (window > 0) hidden = hidden | (query_position - key_position >= window);
  hidden = hidden.unsqueeze(0).unsqueeze(0);
  if (document_ids.defined()) {
    const at::Tensor of_query = document_ids.narrow(1, keys - queries, queries);
    hidden = hidden | (of_query.unsqueeze(2) != document_ids.unsqueeze(1)).unsqueeze(1);
  }
  return hidden;
}

}  // namespace

at::Tensor attention_ref(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                         const at::Tensor& sinks, int64_t window, const at::Tensor& document_ids) {
  count_reference("attention", query);
  const int64_t batch = query.size(0), heads = query.size(1), queries = query.size(2), keys = key.size(2);
  const int64_t group = heads / key.size(1);
  const at::ScalarType type = sum_type(query);
  const at::Tensor all_keys = key.to(type).repeat_interleave(group, 1);
  const at::Tensor all_values = value.to(type).repeat_interleave(group, 1);
  at::Tensor logits = at::matmul(query.to(type), all_keys.transpose(2, 3)) / std::sqrt(double(query.size(3)));
  logits = logits.masked_fill(hidden_keys(queries, keys, window, document_ids, query.device()),
                              -std::numeric_limits<double>::infinity());
  if (sinks.defined()) {
    logits = at::cat({logits, sinks.to(type).view({1, heads, 1, 1}).expand({batch, heads, queries, 1})}, -1);
  }
  const at::Tensor probabilities = logits.softmax(-1).narrow(-1, 0, keys);
  return at::matmul(probabilities, all_values).to(query.scalar_type());
}

}  // namespace xinslm
