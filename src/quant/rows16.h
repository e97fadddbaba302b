#pragma once
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "xinslm/quant/formats.h"

namespace xinslm {

inline constexpr int64_t lanes = Rows16::rows;

/// Groups of 16 that hold this many rows.
inline int64_t row_groups(int64_t rows) {
  return rows / lanes + (rows % lanes != 0);
}

/// Calls body(first row counted over all matrices, how many rows are there, group counted likewise) for each group of
/// rows of each matrix, in parallel.
/// @param sizes  logical sizes [..., rows, in]
template <class Body>
void for_row_groups(at::IntArrayRef sizes, const Body& body) {
  const int64_t rows = sizes[sizes.size() - 2], groups = row_groups(rows);
  int64_t all_groups = groups;
  for (const int64_t size : sizes.slice(0, sizes.size() - 2)) all_groups *= size;
  const int64_t grain = std::max<int64_t>(1, at::internal::GRAIN_SIZE / (lanes * sizes.back()));
  at::parallel_for(0, all_groups, grain, [&](int64_t begin, int64_t end) {
    for (int64_t group = begin; group < end; ++group) {
      const int64_t first = group % groups * lanes;
      body(group / groups * rows + first, std::min(lanes, rows - first), group);
    }
  });
}

/// Element `index` of memory that need not be aligned, such as a mapped file.
template <class T>
T load(const void* memory, int64_t index) {
  T value;
  std::memcpy(&value, static_cast<const char*>(memory) + index * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return value;
}

/// to[16 i + r] = from[r][i] of words, by vectors of four.
inline void transpose_square(const uint32_t (&from)[lanes][lanes], uint32_t* to) {
  typedef uint32_t Quad __attribute__((vector_size(16)));
  for (int64_t i = 0; i < lanes; i += 4) {
    for (int64_t r = 0; r < lanes; r += 4) {
      Quad rows[4];
      for (int j = 0; j < 4; ++j) std::memcpy(&rows[j], &from[r + j][i], sizeof rows[j]);
      const Quad first = __builtin_shufflevector(rows[0], rows[1], 0, 4, 1, 5);
      const Quad second = __builtin_shufflevector(rows[2], rows[3], 0, 4, 1, 5);
      const Quad third = __builtin_shufflevector(rows[0], rows[1], 2, 6, 3, 7);
      const Quad fourth = __builtin_shufflevector(rows[2], rows[3], 2, 6, 3, 7);
      const Quad columns[4] = {
          __builtin_shufflevector(first, second, 0, 1, 4, 5), __builtin_shufflevector(first, second, 2, 3, 6, 7),
          __builtin_shufflevector(third, fourth, 0, 1, 4, 5), __builtin_shufflevector(third, fourth, 2, 3, 6, 7)};
      for (int j = 0; j < 4; ++j) std::memcpy(to + (i + j) * lanes + r, &columns[j], sizeof columns[j]);
    }
  }
}

/// The same for the first `count` columns of any element.
template <class T>
void transpose(const T (&from)[lanes][lanes], int64_t count, T* to) {
  if constexpr (std::is_same_v<T, uint32_t>) {
    if (count == lanes) return transpose_square(from, to);
  }
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t r = 0; r < lanes; ++r) to[i * lanes + r] = from[r][i];
  }
}

/// Transposes each group: element k of its row r goes to place 16 k + r, turned from From into To by `change`. Goes by
/// squares of 16 elements, so that `change` runs along rows, in vectors.
///
/// @param from     contiguous, read as rows of `width` elements From
/// @param to       contiguous, 16 * width elements To for each group
/// @param sizes    logical sizes [..., rows, in]
/// @param filling  what rows hold that are not there
template <class From, class To, class Change>
void rows_to_lanes(const at::Tensor& from, at::Tensor& to, at::IntArrayRef sizes, int64_t width, To filling,
                   const Change& change) {
  const void* source = from.const_data_ptr();
  auto* target = static_cast<To*>(to.mutable_data_ptr());
  for_row_groups(sizes, [&](int64_t first, int64_t rows, int64_t group) {
    To square[lanes][lanes];
    std::fill_n(&square[0][0], lanes * lanes, filling);
    for (int64_t k = 0; k < width; k += lanes) {
      const int64_t count = std::min(lanes, width - k);
      const auto turn_row = [&](int64_t r, auto columns) {
        for (int64_t i = 0; i < columns; ++i) square[r][i] = change(load<From>(source, (first + r) * width + k + i));
      };
      for (int64_t r = 0; r < rows; ++r) {
        if (count == lanes) {  // a number that compilers know makes vectors of it
          turn_row(r, std::integral_constant<int64_t, lanes>());
        } else {
          turn_row(r, count);
        }
      }
      transpose(square, count, target + (group * width + k) * lanes);
    }
  });
}

/// The inverse of rows_to_lanes: leaves out the rows that are not there.
template <class From, class To, class Change>
void lanes_to_rows(const at::Tensor& from, at::Tensor& to, at::IntArrayRef sizes, int64_t width, const Change& change) {
  const void* source = from.const_data_ptr();
  auto* target = static_cast<To*>(to.mutable_data_ptr());
  for_row_groups(sizes, [&](int64_t first, int64_t rows, int64_t group) {
    From square[lanes][lanes];
    for (int64_t k = 0; k < width; k += lanes) {
      const int64_t count = std::min(lanes, width - k);
      for (int64_t i = 0; i < count; ++i) {
        for (int64_t r = 0; r < lanes; ++r) square[r][i] = load<From>(source, (group * width + k + i) * lanes + r);
      }
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t i = 0; i < count; ++i) target[(first + r) * width + k + i] = change(square[r][i]);
      }
    }
  });
}

}  // namespace xinslm
