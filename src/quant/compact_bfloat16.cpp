#include "xinslm/quant/compact_bfloat16.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>

#include "xinslm/core/error.h"
#include "xinslm/core/huge_pages.h"

namespace xinslm {
namespace {

using Table = CompactBfloat16::Table;
using Rare = CompactBfloat16::Rare;
using Counts = std::array<int64_t, 256>;
using Codes = std::array<uint8_t, 256>;

constexpr int64_t block = CompactBfloat16::block, block_bytes = CompactBfloat16::block_bytes;
constexpr int64_t half = block / 2;
constexpr uint8_t no_code = 255;
constexpr int64_t rare_share = 200;  // at most one in so many numbers may be rare

/// Place of each column's lower byte in its block.
constexpr std::array<uint8_t, block> places = [] {
  std::array<uint8_t, block> all{};
  for (int h = 0; h < 2; ++h) {
    for (int p = 0; p < 2; ++p) {
      for (int q = 0; q < 4; ++q) {
        for (int j = 0; j < 4; ++j) all[32 * h + 16 * p + 4 * q + j] = static_cast<uint8_t>(16 * q + 8 * h + 2 * j + p);
      }
    }
  }
  return all;
}();

float float_of(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

/// How often each upper byte occurs in some of the rows, some millions of numbers.
Counts count_upper_bytes(const uint16_t* values, int64_t rows, int64_t width) {
  constexpr int64_t enough = 4 << 20;
  const int64_t step = std::max<int64_t>(1, rows * width / enough);
  Counts counts{};
  for (int64_t row = 0; row < rows; row += step) {
    const uint16_t* from = values + row * width;
    for (int64_t i = 0; i < width; ++i) ++counts[from[i] >> 8];
  }
  return counts;
}

/// Zero and the fifteen others that occur most.
Table most_frequent(const Counts& counts) {
  std::array<uint8_t, 256> bytes;
  std::iota(bytes.begin(), bytes.end(), 0);
  std::stable_sort(bytes.begin() + 1, bytes.end(), [&](uint8_t a, uint8_t b) { return counts[a] > counts[b]; });
  Table table;
  std::copy_n(bytes.begin(), table.size(), table.begin());
  return table;
}

Codes codes_of(const Table& table) {
  Codes codes;
  codes.fill(no_code);
  for (size_t code = 0; code < table.size(); ++code) codes[table[code]] = static_cast<uint8_t>(code);
  return codes;
}

/// Whether few enough numbers have none of the table's upper bytes.
bool few_are_rare(const Counts& counts, const Table& table) {
  int64_t coded = 0;
  for (const uint8_t byte : table) coded += counts[byte];
  const int64_t all = std::accumulate(counts.begin(), counts.end(), int64_t{0});
  return (all - coded) * rare_share <= all;
}

void pack_row(const uint16_t* from, int64_t row, int64_t width, const Codes& codes, uint8_t* to,
              std::vector<Rare>& rare) {
  for (int64_t first = 0; first < width; first += block, to += block_bytes) {
    uint8_t lower[block] = {}, upper[block] = {};
    const int64_t count = std::min(block, width - first);
    for (int64_t i = 0; i < count; ++i) {
      const uint16_t bits = from[first + i];
      const uint8_t code = codes[bits >> 8], place = places[static_cast<size_t>(i)];
      if (code == no_code) {
        rare.push_back({static_cast<int32_t>(row), static_cast<int32_t>(first + i), float_of(bits)});
      } else {
        lower[place] = static_cast<uint8_t>(bits);
        upper[place] = code;
      }
    }
    std::memcpy(to, lower, sizeof lower);
    for (int64_t b = 0; b < half; ++b) to[block + b] = static_cast<uint8_t>(upper[b] | upper[half + b] << 4);
  }
}

}  // namespace

bool CompactBfloat16::fill(const at::Tensor& matrix) {
  if (matrix.dim() != 2 || matrix.scalar_type() != at::kBFloat16 || !matrix.is_cpu()) {
    usage_error("a compact matrix is made of [rows, in] bfloat16 on the processor, not of ", matrix.sizes(), " ",
                matrix.scalar_type(), " on ", matrix.device());
  }
  const at::Tensor dense = matrix.contiguous();
  const auto* from = static_cast<const uint16_t*>(dense.const_data_ptr());
  const int64_t rows = dense.size(0), width = dense.size(1), row_bytes = (width + block - 1) / block * block_bytes;
  if (row_bytes * 8 > 7 * 2 * width) return false;
  const Counts counts = count_upper_bytes(from, rows, width);
  const Table table = most_frequent(counts);
  if (!few_are_rare(counts, table)) return false;
  const Codes codes = codes_of(table);
  const at::Tensor values = empty_in_huge_pages({rows, row_bytes / block_bytes, block_bytes}, at::kByte);
  auto* to = values.mutable_data_ptr<uint8_t>();
  std::vector<std::vector<Rare>> found(static_cast<size_t>(rows));
  at::parallel_for(0, rows, std::max<int64_t>(1, at::internal::GRAIN_SIZE / std::max<int64_t>(1, width)),
                   [&](int64_t begin, int64_t end) {
                     for (int64_t row = begin; row < end; ++row) {
                       pack_row(from + row * width, row, width, codes, to + row * row_bytes, found[row]);
                     }
                   });
  int64_t rare = 0;
  for (const std::vector<Rare>& of_row : found) rare += static_cast<int64_t>(of_row.size());
  if (rare * rare_share > rows * width) return false;  // rows that were not counted are of other exponents
  rows_ = rows;
  width_ = width;
  table_ = table;
  rare_.clear();
  first_rare_.assign(1, 0);
  for (const std::vector<Rare>& of_row : found) {
    rare_.insert(rare_.end(), of_row.begin(), of_row.end());
    first_rare_.push_back(static_cast<int64_t>(rare_.size()));
  }
  rare_.shrink_to_fit();
  values_ = values;
  return true;
}

int64_t CompactBfloat16::bytes() const {
  if (empty()) return 0;
  return static_cast<int64_t>(values_.nbytes() + rare_.size() * sizeof(Rare) + first_rare_.size() * sizeof(int64_t));
}

std::span<const Rare> CompactBfloat16::rare(int64_t begin, int64_t end) const {
  const auto first = static_cast<size_t>(first_rare_[begin]), last = static_cast<size_t>(first_rare_[end]);
  return std::span(rare_).subspan(first, last - first);
}

void CompactBfloat16::restore_row(int64_t row, uint16_t* to) const {
  const uint8_t* from = this->row(row);
  for (int64_t i = 0; i < width_; ++i) {
    const uint8_t* part = from + i / block * block_bytes;
    const uint8_t place = places[static_cast<size_t>(i % block)];
    const int code = part[block + place % half] >> (place < half ? 0 : 4) & 15;
    to[i] = static_cast<uint16_t>(part[place] | table_[code] << 8);
  }
  for (const Rare& one : rare(row, row + 1)) to[one.column] = one.bits();
}

at::Tensor CompactBfloat16::restore() const {
  return select_rows(at::arange(rows_));
}

at::Tensor CompactBfloat16::select_rows(const at::Tensor& ids) const {
  const at::Tensor wanted = ids.to(at::kCPU).flatten().contiguous();
  std::vector<int64_t> sizes = ids.sizes().vec();
  sizes.push_back(width_);
  at::Tensor out = at::empty(sizes, at::kBFloat16);
  auto* to = static_cast<uint16_t*>(out.mutable_data_ptr());
  const auto* numbers = wanted.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < wanted.numel(); ++i) restore_row(numbers[i], to + i * width_);
  return out;
}

}  // namespace xinslm
