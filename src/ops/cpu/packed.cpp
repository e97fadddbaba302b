#include "ops/cpu/packed.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "ops/cpu/dispatch.h"
#include "ops/cpu/moe_kernels.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/tile_kernels.h"

namespace xinslm::cpu {
namespace {

constexpr int64_t block = 32, group_rows = 16;

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
    buffer.values.reset(allocate(blocks * group_rows * block / 2));
    buffer.scales.reset(allocate(blocks * group_rows));
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

/// All rows of x [N, in] in 8 bits.
QuantizedBuffer quantized(const at::Tensor& x) {
  const at::Tensor floats = x.to(at::kFloat).contiguous();
  const int64_t rows = floats.size(0), width = floats.size(1);
  QuantizedBuffer buffer(rows, width);
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
  const QuantizedBuffer right = quantized(x);
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

QuantizedBuffer::QuantizedBuffer(int64_t rows, int64_t width)
    : blocks_(width / block),
      codes_(std::make_unique_for_overwrite<int8_t[]>(static_cast<size_t>(rows * width))),
      scales_(std::make_unique_for_overwrite<float[]>(static_cast<size_t>((rows + 1) * blocks_))),
      starts_(std::make_unique_for_overwrite<DotStart[]>(static_cast<size_t>((rows + 1) * blocks_))) {
  if (tile_kernels() && rows >= TileKernels::least_rows) {
    rounded_ =
        std::make_unique_for_overwrite<uint16_t[]>(static_cast<size_t>((rows + TileKernels::whole_rows - 1) * width));
  }
}

ActivationRows QuantizedBuffer::rows(int64_t first) const {
  return {{codes_.get() + first * blocks_ * block, scales_.get() + first * blocks_, starts_.get() + first * blocks_},
          rounded_ ? rounded_.get() + first * blocks_ * block : nullptr};
}

void QuantizedBuffer::write(int64_t row, int64_t first, int64_t count, const float* x) {
  const int64_t place = row * blocks_ + first;
  packed_kernels().quantize(x, count, codes_.get() + place * block, scales_.get() + place, starts_.get() + place);
  if (rounded_) tile_kernels()->round(x, count * block, rounded_.get() + place * block);
}

void QuantizedBuffer::copy(int64_t row, const QuantizedBuffer& from, int64_t source) {
  std::copy_n(from.codes_.get() + source * blocks_ * block, blocks_ * block, codes_.get() + row * blocks_ * block);
  std::copy_n(from.scales_.get() + source * blocks_, blocks_, scales_.get() + row * blocks_);
  std::copy_n(from.starts_.get() + source * blocks_, blocks_, starts_.get() + row * blocks_);
  if (rounded_ && from.rounded_) {
    std::copy_n(from.rounded_.get() + source * blocks_ * block, blocks_ * block,
                rounded_.get() + row * blocks_ * block);
  }
}

void multiply_group(const Mxfp4Tensor& weight, int64_t matrix, int64_t group, const ActivationRows& x, int64_t count,
                    float* out, int64_t out_stride) {
  const auto& sizes = weight.sizes();
  const int64_t blocks = sizes.back() / block, place = (matrix * groups_of(sizes[sizes.size() - 2]) + group) * blocks;
  multiply_mxfp4(static_cast<const uint8_t*>(weight.value_data()) + place * group_rows * block / 2,
                 static_cast<const uint8_t*>(weight.scale_data()) + place * group_rows, blocks, x, count, out,
                 out_stride);
}

void multiply_group(const ExpertMatrices& experts, int64_t expert, int64_t group, const ActivationRows& x,
                    int64_t count, float* out, int64_t out_stride) {
  if (experts.laid_out()) return multiply_group(experts.rows16(), expert, group, x, count, out, out_stride);
  const Mxfp4Tensor& source = experts.source();
  const int64_t rows = source.sizes()[1], blocks = source.sizes()[2] / block, first = group * group_rows;
  const int64_t row = expert * rows + first;
  GroupBuffer& buffer = group_buffer(blocks);
  packed_kernels().group_mxfp4(static_cast<const uint8_t*>(source.value_data()) + row * blocks * block / 2,
                               static_cast<const uint8_t*>(source.scale_data()) + row * blocks, blocks,
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
                  int64_t count, double swiglu_limit, float* scratch, float* act) {
  constexpr int64_t rows = 2 * unit_columns, groups = rows / group_rows;
  for (int64_t i = 0; i < groups; ++i) {
    multiply_group(*experts.gate_up, expert, unit * groups + i, x, count, scratch + i * group_rows, rows);
  }
  const float* bias = floats_or_null(experts.gate_up_bias);
  if (bias) bias += expert * experts.gate_up_bias.size(1) + unit * rows;
  moe_kernels().swiglu[element_float32](scratch, bias, swiglu_limit, act, count, unit_columns);
}

at::Tensor packed_moe_forward(const at::Tensor& x, const at::Tensor& chosen, const at::Tensor& weights,
                              const PackedExpertWeights& experts, double swiglu_limit) {
  const int64_t count = experts.down->sizes()[0], hidden = experts.down->sizes()[1], width = experts.down->sizes()[2];
  const SortedChoices sorted(chosen, weights, count);
  const int64_t choices = static_cast<int64_t>(sorted.tokens.size());
  const QuantizedBuffer tokens = quantized(x);
  QuantizedBuffer rows(choices, hidden), act(choices, width);
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

  const int64_t units = width / unit_columns;
  for_tasks(static_cast<int64_t>(used.size()) * units, [&](int64_t task) {
    const int64_t expert = used[static_cast<size_t>(task / units)], unit = task % units;
    const int64_t first = sorted.begin[expert], n = sorted.begin[expert + 1] - first;
    std::vector<float> scratch(static_cast<size_t>(n * 3 * unit_columns));
    float* values = scratch.data() + n * 2 * unit_columns;
    gate_up_unit(experts, expert, unit, rows.rows(first), n, swiglu_limit, scratch.data(), values);
    for (int64_t i = 0; i < n; ++i) act.write(first + i, unit, 1, values + i * unit_columns);
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
