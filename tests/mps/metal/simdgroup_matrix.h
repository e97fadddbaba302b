#pragma once
#include "metal/simdgroup.h"

namespace metal {

/// An 8 x 8 matrix spread over the lanes: each holds two neighbours of a row, in the order Apple's processors have it.
template <class T, int Columns, int Rows>
struct simdgroup_matrix {
  static_assert(Columns == 8 && Rows == 8, "Metal has 8 x 8 only");
  vec<T, 2> elements;

  simdgroup_matrix() = default;
  /// `diagonal` on the diagonal, zero elsewhere.
  explicit simdgroup_matrix(T diagonal) {
    for (int i = 0; i < 2; ++i) elements.data[i] = row() == column() + i ? diagonal : T(0);
  }
  vec<T, 2>& thread_elements() { return elements; }

  static int row_of(int lane) { return (lane >> 2 & 4) + (lane >> 1 & 3); }
  static int column_of(int lane) { return (lane >> 1 & 4) + (lane & 1) * 2; }
  static int row() { return row_of(simulator::lane()); }
  static int column() { return column_of(simulator::lane()); }
};

typedef simdgroup_matrix<float, 8, 8> simdgroup_float8x8;
typedef simdgroup_matrix<half, 8, 8> simdgroup_half8x8;
typedef simdgroup_matrix<bfloat, 8, 8> simdgroup_bfloat8x8;

template <class T, int Columns, int Rows>
simdgroup_matrix<T, Columns, Rows> make_filled_simdgroup_matrix(T value) {
  simdgroup_matrix<T, Columns, Rows> m;
  m.elements = vec<T, 2>(value);
  return m;
}

namespace simd {

struct Operands {
  float a[2], b[2], c[2];
};
inline void multiply(simulator::Exchange& e, int) {
  if (e.active != 0xffffffff) simulator::fail("uses a simdgroup matrix in a simdgroup that is not full");
  typedef simdgroup_float8x8 M;
  float a[8][8], b[8][8];
  for (int lane = 0; lane < simulator::lanes; ++lane) {
    const Operands& o = at<Operands>(e.in, lane);
    for (int i = 0; i < 2; ++i) {
      a[M::row_of(lane)][M::column_of(lane) + i] = o.a[i];
      b[M::row_of(lane)][M::column_of(lane) + i] = o.b[i];
    }
  }
  for (int lane = 0; lane < simulator::lanes; ++lane) {
    for (int i = 0; i < 2; ++i) {
      float sum = at<Operands>(e.in, lane).c[i];
      for (int k = 0; k < 8; ++k) sum += a[M::row_of(lane)][k] * b[k][M::column_of(lane) + i];
      at<vec<float, 2>>(e.out, lane).data[i] = sum;
    }
  }
}

template <class M>
long offset_of(ulong elements_per_row, ulong2 origin, bool transpose, int i) {
  const ulong row = M::row(), column = M::column() + i;
  const ulong memory_row = (transpose ? column : row) + origin.y, memory_column = (transpose ? row : column) + origin.x;
  return long(memory_row * elements_per_row + memory_column);
}

}  // namespace simd

// Loads and stores need not wait here: each lane moves its own two elements. A simdgroup that is not full shows at
// products.
template <class T>
void simdgroup_load(simdgroup_matrix<T, 8, 8>& m, const T* from, ulong elements_per_row = 8, ulong2 origin = 0,
                    bool transpose = false) {
  typedef simdgroup_matrix<T, 8, 8> M;
  for (int i = 0; i < 2; ++i) m.elements.data[i] = from[simd::offset_of<M>(elements_per_row, origin, transpose, i)];
}

template <class T>
void simdgroup_store(const simdgroup_matrix<T, 8, 8>& m, T* to, ulong elements_per_row = 8, ulong2 origin = 0,
                     bool transpose = false) {
  typedef simdgroup_matrix<T, 8, 8> M;
  for (int i = 0; i < 2; ++i) to[simd::offset_of<M>(elements_per_row, origin, transpose, i)] = m.elements.data[i];
}

/// d = a b + c, sums in float.
template <class D, class A, class B, class C>
void simdgroup_multiply_accumulate(simdgroup_matrix<D, 8, 8>& d, const simdgroup_matrix<A, 8, 8>& a,
                                   const simdgroup_matrix<B, 8, 8>& b, const simdgroup_matrix<C, 8, 8>& c) {
  const simd::Operands in{{float(a.elements.x), float(a.elements.y)},
                          {float(b.elements.x), float(b.elements.y)},
                          {float(c.elements.x), float(c.elements.y)}};
  vec<float, 2> out;
  simulator::exchange("simdgroup_multiply_accumulate", &in, sizeof(in), &out, sizeof(out), simd::multiply);
  d.elements = vec<D, 2>(D(out.x), D(out.y));
}

template <class D, class A, class B>
void simdgroup_multiply(simdgroup_matrix<D, 8, 8>& d, const simdgroup_matrix<A, 8, 8>& a,
                        const simdgroup_matrix<B, 8, 8>& b) {
  simdgroup_multiply_accumulate(d, a, b, make_filled_simdgroup_matrix<D, 8, 8>(D(0)));
}

}  // namespace metal
