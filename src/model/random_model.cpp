#include "xinslm/model/random_model.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>
#include <cstring>

#include "model/initialise.h"
#include "xinslm/core/error.h"
#include "xinslm/core/file.h"
#include "xinslm/core/interrupt.h"
#include "xinslm/core/random.h"
#include "xinslm/format/model_folder.h"
#include "xinslm/model/packed_names.h"
#include "xinslm/quant/formats.h"

namespace fs = std::filesystem;

namespace xinslm {
namespace {

constexpr int64_t chunk_bytes = 1 << 20;  // each chunk has its own stream, so threads do not matter
constexpr double code_deviation = 2.93;   // root mean square of the sixteen values of FP4

at::Tensor random_bytes(const std::vector<int64_t>& sizes, uint64_t seed, uint64_t number) {
  const at::Tensor bytes = at::empty(sizes, at::kByte);
  auto* to = bytes.mutable_data_ptr<uint8_t>();
  const int64_t count = bytes.numel();
  at::parallel_for(0, (count + chunk_bytes - 1) / chunk_bytes, 1, [&](int64_t begin, int64_t end) {
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      RandomStream random({seed, random_for::packed_codes, number, static_cast<uint64_t>(chunk)});
      const int64_t stop = std::min(count, (chunk + 1) * chunk_bytes);
      for (int64_t i = chunk * chunk_bytes; i < stop; i += 8) {
        const uint64_t word = random();
        std::memcpy(to + i, &word, static_cast<size_t>(std::min<int64_t>(8, stop - i)));
      }
    }
  });
  return bytes;
}

void add_packed(TensorSources& sources, const ModelConfig& config, const Parameter& parameter, uint64_t seed,
                uint64_t number) {
  const int64_t experts = parameter.shape[0], in = parameter.shape[1], rows = parameter.shape[2];
  if (in % quant_block != 0) {
    usage_error("parameter ", parameter.name, " has ", in, " inputs; MXFP4 needs a multiple of ", quant_block);
  }
  const std::vector<int64_t> scales{experts, rows, in / quant_block};
  std::vector<int64_t> blocks = scales;
  blocks.push_back(quant_block / 2);
  const int exponent = static_cast<int>(std::lround(std::log2(config.initializer_range / code_deviation)));
  sources.push_back(
      {cat(parameter.name, blocks_suffix), at::kByte, blocks, [=] { return random_bytes(blocks, seed, number); }});
  sources.push_back({cat(parameter.name, scales_suffix), at::kByte, scales,
                     [=] { return at::full(scales, 127 + exponent, at::kByte); }});
}

}  // namespace

void write_random_model(const fs::path& target, const ModelConfig& config, const Tokenizer& tokenizer, bool packed,
                        uint64_t seed, bool replace, const GenerationSettings& generation) {
  TensorSources sources;
  const std::vector<Parameter> table = parameter_table(config);
  for (size_t i = 0; i < table.size(); ++i) {
    const Parameter& parameter = table[i];
    if (packed && parameter.packed_as() == PackedAs::mxfp4) {
      add_packed(sources, config, parameter, seed, i);
      continue;
    }
    const at::ScalarType type = parameter.in_model_type() ? at::kBFloat16 : at::kFloat;
    sources.push_back({parameter.name, type, parameter.shape, [&config, &parameter, type, seed, i] {
                         return initial_value(config, parameter, seed, i).to(type);
                       }});
  }
  for (TensorSource& source : sources) {
    source.make = [make = std::move(source.make)] {
      InterruptGuard::check();
      return make();
    };
  }
  AtomicDirectory folder(target, replace);
  write_model_config(folder.path(), config, "bfloat16");
  if (packed) mark_packed(folder.path());
  write_generation_config(folder.path(), config, generation);
  write_weights(folder.path(), sources);
  tokenizer.save(folder.path());
  folder.commit();
}

}  // namespace xinslm
