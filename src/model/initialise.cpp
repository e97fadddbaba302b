#include "model/initialise.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

#include "xinslm/core/random.h"

namespace xinslm {
namespace {

constexpr int64_t chunk_size = 1 << 16;  // each chunk has its own stream, so threads do not matter

void fill_normal(at::Tensor& tensor, double deviation, uint64_t seed, uint64_t number) {
  float* values = tensor.mutable_data_ptr<float>();
  const int64_t count = tensor.numel();
  at::parallel_for(0, (count + chunk_size - 1) / chunk_size, 1, [&](int64_t begin, int64_t end) {
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      RandomStream random({seed, random_for::initial_weights, number, static_cast<uint64_t>(chunk)});
      const int64_t stop = std::min(count, (chunk + 1) * chunk_size);
      for (int64_t i = chunk * chunk_size; i < stop; ++i) values[i] = static_cast<float>(deviation * random.normal());
    }
  });
}

}  // namespace

at::Tensor initial_value(const ModelConfig& config, const Parameter& parameter, uint64_t seed, uint64_t number) {
  if (parameter.role == ParameterRole::gain) return at::ones(parameter.shape, at::kFloat);
  if (parameter.group() == OptimizerGroup::vector) return at::zeros(parameter.shape, at::kFloat);
  double deviation = config.initializer_range;
  if (parameter.residual) deviation /= std::sqrt(2.0 * static_cast<double>(config.num_hidden_layers));
  at::Tensor tensor = at::empty(parameter.shape, at::kFloat);
  fill_normal(tensor, deviation, seed, number);
  return tensor;
}

}  // namespace xinslm
