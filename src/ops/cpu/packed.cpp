#include "ops/cpu/packed.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <numeric>

#include "ops/cpu/dispatch.h"
#include "ops/cpu/moe_kernels.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/tile_kernels.h"
#include "xinslm/quant/formats.h"

namespace xinslm::cpu {
namespace {

constexpr int64_t block = quant_block, group_rows = Rows16::rows;

/// Groups of rows that one task multiplies: some tens of microseconds for a single row.
constexpr int64_t task_groups = 8;

int64_t groups_of(int64_t rows) {
  return (rows + group_rows - 1) / group_rows;
}

/// A group of weight rows in layout rows16.
struct GroupBuffer {
  struct Free {
    void operator()(uint8_t* memory) const { ::operator delete[](memory, alignment); }
  };
  static constexpr std::align_val_t alignment{64};  // a vector

  int64_t blocks = 0;
  std::unique_ptr<uint8_t[], Free> values, scales;
};

/// The calling thread's, for `blocks` blocks at least.
GroupBuffer& group_buffer(int64_t blocks) {
  thread_local GroupBuffer buffer;
  if (buffer.blocks < blocks) {
    const auto allocate = [](int64_t bytes) {
      return static_cast<uint8_t*>(::operator new[](static_cast<size_t>(bytes), GroupBuffer::alignment));
    };
    buffer.values.reset(allocate(blocks * group_rows * Mxfp4Format::value_bytes));
    buffer.scales.reset(allocate((blocks + 1) / 2 * 2 * group_rows));
    buffer.blocks = blocks;
  }
  return buffer;
}

/// 16 rows of weights in layout rows16, times `count` rows of x.
void multiply_mxfp4(const uint8_t* values, const uint8_t* scales, int64_t blocks, const ActivationRows& x,
                    int64_t count, float* out, int64_t out_stride) {
  if (x.rounded && count >= TileKernels::least_rows) {
    tile_kernels()->mxfp4(values, scales, blocks, x.rounded, count, out, out_stride);
  } else {
    packed_kernels().mxfp4(values, scales, blocks, x.quantized, count, out, out_stride);
  }
}

/// All rows of x [N, in] in 8 bits, in groups.
QuantizedBuffer quantized(const at::Tensor& x, const std::vector<int64_t>& begin) {
  const at::Tensor floats = x.to(at::kFloat).contiguous();
  const int64_t rows = floats.size(0), width = floats.size(1);
  QuantizedBuffer buffer(begin, width);
  for_parts(rows, count_parts(rows, rows_per_thread(width)), [&](int64_t, int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      buffer.write(row, 0, buffer.blocks(), floats.const_data_ptr<float>() + row * width);
    }
  });
  return buffer;
}

template <class Packed>
at::Tensor linear_forward(const at::Tensor& x, const Packed& weight, const at::Tensor& bias) {
  const int64_t count = x.size(0), rows = weight.sizes()[0], groups = groups_of(rows);
  const QuantizedBuffer right = quantized(x, {0, count});
  const at::Tensor out = at::empty({count, groups * group_rows}, x.options().dtype(at::kFloat));
  float* to = out.mutable_data_ptr<float>();
  for_tasks((groups + task_groups - 1) / task_groups, [&](int64_t task) {
    for (int64_t group = task * task_groups; group < std::min(groups, (task + 1) * task_groups); ++group) {
      multiply_group(weight, 0, group, right.rows(), count, to + group * group_rows, groups * group_rows);
    }
  });
  const at::Tensor whole = out.narrow(1, 0, rows);
  return (bias.defined() ? whole + bias : whole).to(x.scalar_type());
}

}  // namespace

QuantizedBuffer::QuantizedBuffer(const std::vector<int64_t>& begin, int64_t width)
    : blocks_(width / block), stretches_((blocks_ + stretch_blocks - 1) / stretch_blocks) {
  int64_t most_rows = 0;
  for (size_t group = 0; group + 1 < begin.size(); ++group) {
    const int64_t of_group = begin[group + 1] - begin[group];
    const int64_t count = count_tiles(of_group, packed_kernels().tile_rows);
    most_rows = std::max(most_rows, of_group);
    for (int64_t number = 0; number < count; ++number) {
      const auto [first, height] = row_tile(of_group, count, number);
      tiles_.insert(tiles_.end(), static_cast<size_t>(height), {begin[group] + first, height});
    }
  }
  const size_t rows = tiles_.size(), blocks = static_cast<size_t>(blocks_), values = blocks * block;
  codes_ = std::make_unique_for_overwrite<int8_t[]>(rows * values + block);
  scales_ = std::make_unique_for_overwrite<StretchScale[]>(rows * static_cast<size_t>(stretches_) + 1);
  starts_ = std::make_unique_for_overwrite<DotStart[]>(rows * blocks + 1);
  if (tile_kernels() && most_rows >= TileKernels::least_rows) {
    rounded_ = std::make_unique_for_overwrite<uint16_t[]>((rows + TileKernels::whole_rows - 1) * values);
  }
}

std::vector<int64_t> each_alone(int64_t rows) {
  std::vector<int64_t> begin(static_cast<size_t>(rows + 1));
  std::iota(begin.begin(), begin.end(), 0);
  return begin;
}

ActivationRows QuantizedBuffer::rows(int64_t first) const {
  const int64_t place = first * blocks_;
  return {{codes_.get() + place * block, scales_.get() + first * stretches_, starts_.get() + place},
          rounded_ ? rounded_.get() + place * block : nullptr};
}

QuantizedRow QuantizedBuffer::row(int64_t row, int64_t first) const {
  const RowTile& tile = tiles_[static_cast<size_t>(row)];
  const int64_t in_tile = row - tile.first, place = tile.first * blocks_ + first * tile.height + in_tile;
  const int64_t scale = tile.first * stretches_ + first / stretch_blocks * tile.height + in_tile;
  return {codes_.get() + place * block, scales_.get() + scale, starts_.get() + place, tile.height};
}

void QuantizedBuffer::write(int64_t row, int64_t first, int64_t count, const float* x) {
  packed_kernels().quantize(x, count, this->row(row, first));
  if (rounded_) tile_kernels()->round(x, count * block, rounded_.get() + (row * blocks_ + first) * block);
}

void QuantizedBuffer::copy(int64_t row, const QuantizedBuffer& from, int64_t source) {
  const QuantizedRow to = this->row(row, 0), other = from.row(source, 0);
  for (int64_t b = 0; b < blocks_; ++b) {
    std::memcpy(to.codes + b * to.height * block, other.codes + b * other.height * block, block);
    to.starts[b * to.height] = other.starts[b * other.height];
  }
  for (int64_t s = 0; s < stretches_; ++s) to.scales[s * to.height] = other.scales[s * other.height];
  if (rounded_ && from.rounded_) {
    std::copy_n(from.rounded_.get() + source * blocks_ * block, blocks_ * block,
                rounded_.get() + row * blocks_ * block);
  }
}

void multiply_group(const Mxfp4Tensor& weight, int64_t matrix, int64_t group, const ActivationRows& x, int64_t count,
                    float* out, int64_t out_stride) {
  const auto& sizes = weight.sizes();
  const int64_t blocks = sizes.back() / block, place = (matrix * groups_of(sizes[sizes.size() - 2]) + group) * blocks;
  multiply_mxfp4(static_cast<const uint8_t*>(weight.value_data()) + place * group_rows * Mxfp4Format::value_bytes,
                 static_cast<const uint8_t*>(weight.scale_data()) + place * group_rows, blocks, x, count, out,
                 out_stride);
}

void multiply_group(const ExpertMatrices& experts, int64_t expert, int64_t group, const ActivationRows& x,
                    int64_t count, float* out, int64_t out_stride) {
  const Mxfp4Tensor& source = experts.source();
  const int64_t rows = source.sizes()[1], blocks = source.sizes()[2] / block;
  if (experts.laid_out()) {
    const LaidOutExperts& laid_out = experts.rows16();
    const uint8_t *values = laid_out.values(expert, group), *scales = laid_out.scales(expert, group);
    if (!laid_out.scales_in_halves()) return multiply_mxfp4(values, scales, blocks, x, count, out, out_stride);
    if (count == 1) {
      const uint8_t least = laid_out.least_scale();
      return packed_kernels().mxfp4_with_half_scales(values, scales, least, blocks, x.quantized, out);
    }
    uint8_t* whole = group_buffer(blocks).scales.get();
    packed_kernels().widen_scales(scales, blocks, laid_out.least_scale(), whole);
    return multiply_mxfp4(values, whole, blocks, x, count, out, out_stride);
  }
  const int64_t first = group * group_rows, row = expert * rows + first;
  const GroupBuffer& buffer = group_buffer(blocks);
  const auto* values = static_cast<const uint8_t*>(source.value_data()) + row * blocks * Mxfp4Format::value_bytes;
  packed_kernels().group_mxfp4(values, static_cast<const uint8_t*>(source.scale_data()) + row * blocks, blocks,
                               std::min(group_rows, rows - first), buffer.values.get(), buffer.scales.get());
  multiply_mxfp4(buffer.values.get(), buffer.scales.get(), blocks, x, count, out, out_stride);
}

void multiply_group(const Q8Tensor& weight, int64_t matrix, int64_t group, const ActivationRows& x, int64_t count,
                    float* out, int64_t out_stride) {
  const auto& sizes = weight.sizes();
  const int64_t blocks = sizes.back() / block, place = (matrix * groups_of(sizes[sizes.size() - 2]) + group) * blocks;
  const auto* values = static_cast<const uint8_t*>(weight.value_data()) + place * group_rows * block;
  const auto* scales = static_cast<const uint16_t*>(weight.scale_data()) + place * group_rows;
  if (x.rounded && count >= TileKernels::least_rows) {
    tile_kernels()->q8(values, scales, blocks, x.rounded, count, out, out_stride);
  } else {
    packed_kernels().q8(values, scales, blocks, x.quantized, count, out, out_stride);
  }
}

void gate_up_unit(const PackedExpertWeights& experts, int64_t expert, int64_t unit, const ActivationRows& x,
                  int64_t count, double swiglu_limit, float* scratch, QuantizedBuffer& act, int64_t first) {
  const int64_t column = unit * unit_columns, columns = std::min(unit_columns, act.blocks() * block - column);
  const int64_t rows = 2 * columns, groups = rows / group_rows;
  for (int64_t i = 0; i < groups; ++i) {
    multiply_group(*experts.gate_up, expert, 2 * column / group_rows + i, x, count, scratch + i * group_rows, rows);
  }
  const float* bias = floats_or_null(experts.gate_up_bias);
  if (bias) bias += expert * experts.gate_up_bias.size(1) + 2 * column;
  float* values = scratch + count * rows;
  moe_kernels().swiglu[element_float32](scratch, bias, swiglu_limit, values, count, columns);
  for (int64_t i = 0; i < count; ++i) {
    act.write(first + i, column / block, columns / block, values + i * columns);
  }
}

at::Tensor packed_moe_forward(const at::Tensor& x, const at::Tensor& chosen, const at::Tensor& weights,
                              const PackedExpertWeights& experts, double swiglu_limit) {
  const int64_t count = experts.down->sizes()[0], hidden = experts.down->sizes()[1], width = experts.down->sizes()[2];
  const SortedChoices sorted(chosen, weights, count);
  const int64_t choices = static_cast<int64_t>(sorted.tokens.size());
  const QuantizedBuffer tokens = quantized(x, {0, x.size(0)});
  QuantizedBuffer rows(sorted.begin, hidden), act(sorted.begin, width);
  for_parts(choices, count_parts(choices, rows_per_thread(hidden)), [&](int64_t, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) rows.copy(i, tokens, sorted.tokens[static_cast<size_t>(i)]);
  });
  std::vector<int64_t> used;
  for (int64_t expert = 0; expert < count; ++expert) {
    if (sorted.begin[expert + 1] > sorted.begin[expert]) used.push_back(expert);
  }
  for (ExpertMatrices* matrices : {experts.gate_up.get(), experts.down.get()}) {
    matrices->lay_out_if_due();
    matrices->count_uses(static_cast<int64_t>(used.size()));
  }

  const int64_t units = units_of(width);
  for_tasks(static_cast<int64_t>(used.size()) * units, [&](int64_t task) {
    const int64_t expert = used[static_cast<size_t>(task / units)], unit = task % units;
    const int64_t first = sorted.begin[expert], n = sorted.begin[expert + 1] - first;
    const auto scratch = std::make_unique_for_overwrite<float[]>(static_cast<size_t>(n * 3 * unit_columns));
    gate_up_unit(experts, expert, unit, rows.rows(first), n, swiglu_limit, scratch.get(), act, first);
  });

  const int64_t groups = groups_of(hidden), tasks = (groups + task_groups - 1) / task_groups;
  const at::Tensor y = at::empty({choices, groups * group_rows}, x.options().dtype(at::kFloat));
  float* to = y.mutable_data_ptr<float>();
  for_tasks(static_cast<int64_t>(used.size()) * tasks, [&](int64_t task) {
    const int64_t expert = used[static_cast<size_t>(task / tasks)], begin = task % tasks * task_groups;
    const int64_t first = sorted.begin[expert], n = sorted.begin[expert + 1] - first;
    for (int64_t group = begin; group < std::min(groups, begin + task_groups); ++group) {
      multiply_group(*experts.down, expert, group, act.rows(first), n,
                     to + first * groups * group_rows + group * group_rows, groups * group_rows);
    }
  });
  const at::Tensor rows_of_choices = groups * group_rows == hidden ? y : y.narrow(1, 0, hidden).contiguous();
  return combine(rows_of_choices, sorted, weights, chosen, experts.down_bias).to(x.scalar_type());
}

at::Tensor packed_linear_forward(const at::Tensor& x, const Mxfp4Tensor& weight, const at::Tensor& bias) {
  return linear_forward(x, weight, bias);
}

at::Tensor packed_linear_forward(const at::Tensor& x, const Q8Tensor& weight, const at::Tensor& bias) {
  return linear_forward(x, weight, bias);
}

}  // namespace xinslm::cpu
