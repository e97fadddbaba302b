#include "xinslm/ops/embedding.h"

#include <ATen/ATen.h>

#include "ops/ref/count.h"

namespace xinslm {

at::Tensor embedding_ref(const at::Tensor& weight, const at::Tensor& tokens) {
  count_reference("embedding", weight);
  auto sizes = tokens.sizes().vec();
  sizes.push_back(weight.size(1));
  return weight.index_select(0, tokens.reshape(-1)).view(sizes);
}

}  // namespace xinslm
