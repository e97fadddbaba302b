#pragma once
// Vectors of the compiler's own (GCC and clang), as wide as the instruction set being compiled for. Everything is in
// the namespace of that set, and nothing here is shared with code compiled for another.
#include <stdint.h>
#ifdef __AVX2__
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define XINSLM_INLINE inline __attribute__((always_inline))
#ifdef __clang__
#define XINSLM_UNROLL _Pragma("clang loop unroll(full)")
#else
#define XINSLM_UNROLL _Pragma("GCC unroll 8")
#endif
#define XINSLM_UNROLL_16 _Pragma("GCC unroll 16")

namespace xinslm::XINSLM_ISA {

#if defined(__AVX512F__)
constexpr int lanes = 16;
#elif defined(__AVX2__)
constexpr int lanes = 8;
#else
constexpr int lanes = 4;
#endif

typedef float Vec __attribute__((vector_size(4 * lanes)));
typedef int32_t IntVec __attribute__((vector_size(4 * lanes)));
typedef uint32_t WordVec __attribute__((vector_size(4 * lanes)));
typedef uint16_t HalfVec __attribute__((vector_size(2 * lanes)));

constexpr float infinity = __builtin_inff();

/// The bits of a bfloat16.
using Bfloat16 = uint16_t;

template <class To, class From>
XINSLM_INLINE To bits_as(const From& from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  __builtin_memcpy(&to, &from, sizeof to);
  return to;
}

template <class T>
XINSLM_INLINE T smaller(T a, T b) {
  return b < a ? b : a;
}
template <class T>
XINSLM_INLINE T larger(T a, T b) {
  return a < b ? b : a;
}

XINSLM_INLINE Vec all(float x) {
  return x - Vec{};
}
XINSLM_INLINE IntVec all_int(int32_t x) {
  return x - IntVec{};
}
XINSLM_INLINE Vec select(IntVec mask, Vec yes, Vec no) {
  return mask ? yes : no;
}

/// a * b + c, rounded once where there is an instruction for it: for sums that must not depend on what the compiler
/// makes of the code around them.
XINSLM_INLINE Vec multiply_add(Vec a, Vec b, Vec c) {
#if defined(__AVX512F__)
  return bits_as<Vec>(_mm512_fmadd_ps(bits_as<__m512>(a), bits_as<__m512>(b), bits_as<__m512>(c)));
#elif defined(__FMA__)
  return bits_as<Vec>(_mm256_fmadd_ps(bits_as<__m256>(a), bits_as<__m256>(b), bits_as<__m256>(c)));
#elif defined(__aarch64__)
  return bits_as<Vec>(vfmaq_f32(bits_as<float32x4_t>(c), bits_as<float32x4_t>(a), bits_as<float32x4_t>(b)));
#else
  return a * b + c;
#endif
}

/// Whether a lane of a comparison's result holds.
XINSLM_INLINE bool any(IntVec mask) {
#if defined(__AVX512F__)
  return _mm512_movepi32_mask(bits_as<__m512i>(mask)) != 0;
#elif defined(__AVX2__)
  return _mm256_movemask_ps(bits_as<__m256>(mask)) != 0;
#else
  return (mask[0] | mask[1] | mask[2] | mask[3]) != 0;
#endif
}

XINSLM_INLINE IntVec lane_numbers() {
  IntVec v;
  for (int i = 0; i < lanes; ++i) v[i] = i;
  return v;
}

// GCC makes five instructions of a conversion between vectors of different sizes where there is one.

XINSLM_INLINE WordVec words_of(HalfVec halves) {
#if defined(__AVX512F__)
  return bits_as<WordVec>(_mm512_maskz_cvtepu16_epi32(0xffff, bits_as<__m256i>(halves)));
#elif defined(__AVX2__)
  return bits_as<WordVec>(_mm256_cvtepu16_epi32(bits_as<__m128i>(halves)));
#else
  return __builtin_convertvector(halves, WordVec);
#endif
}
/// The words' lower halves.
XINSLM_INLINE HalfVec halves_of(WordVec words) {
#if defined(__AVX512F__)
  return bits_as<HalfVec>(_mm512_maskz_cvtepi32_epi16(0xffff, bits_as<__m512i>(words)));
#else
  return __builtin_convertvector(words, HalfVec);
#endif
}

/// Asks the second cache for the line `bytes` behind `from`, of memory that is read once and in order: with much to
/// compute the processor sees too late by itself what comes next. With little to compute, and into the first cache,
/// asking makes reading slower instead (docs/performance.md).
XINSLM_INLINE void ask_ahead(const void* from, int64_t bytes = 8192) {
  __builtin_prefetch(static_cast<const char*>(from) + bytes, 0, 2);
}

XINSLM_INLINE Vec load(const float* p) {
  Vec v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
XINSLM_INLINE Vec load(const Bfloat16* p) {
  HalfVec h;
  __builtin_memcpy(&h, p, sizeof h);
  return bits_as<Vec>(words_of(h) << 16);
}

/// The bits of a float16.
enum class Float16 : uint16_t {};

/// Exact for all finite values; where there is no instruction for it, the exponent is moved by a product, which takes
/// subnormal numbers along.
XINSLM_INLINE Vec load(const Float16* p) {
  HalfVec h;
  __builtin_memcpy(&h, p, sizeof h);
#if defined(__AVX512F__)
  return bits_as<Vec>(_mm512_maskz_cvtph_ps(0xffff, bits_as<__m256i>(h)));
#elif defined(__F16C__)
  return bits_as<Vec>(_mm256_cvtph_ps(bits_as<__m128i>(h)));
#else
  const WordVec word = words_of(h);
  const Vec size = bits_as<Vec>((word & 0x7fff) << 13) * 0x1p112f;
  return bits_as<Vec>(bits_as<WordVec>(size) | (word & 0x8000) << 16);
#endif
}

XINSLM_INLINE Vec load_float16(const uint16_t* bits) {
  return load(reinterpret_cast<const Float16*>(bits));
}

/// To the nearest bfloat16, ties to even; NaN stays NaN.
XINSLM_INLINE HalfVec round_to_bfloat16(Vec v) {
#ifdef __AVX512BF16__
  return bits_as<HalfVec>(_mm512_cvtneps_pbh(bits_as<__m512>(v)));
#else
  const WordVec word = bits_as<WordVec>(v);
  const WordVec rounded = (word + 0x7fff + ((word >> 16) & 1)) >> 16;
  return halves_of((v != v) ? WordVec{} + 0x7fc0 : rounded);
#endif
}

XINSLM_INLINE void store(float* p, Vec v) {
  __builtin_memcpy(p, &v, sizeof v);
}
XINSLM_INLINE void store(Bfloat16* p, Vec v) {
  const HalfVec h = round_to_bfloat16(v);
  __builtin_memcpy(p, &h, sizeof h);
}

/// square[i][j] becomes square[j][i]: each pass interleaves the first half of the rows with the second.
XINSLM_INLINE void transpose(WordVec (&square)[lanes]) {
  XINSLM_UNROLL
  for (int pass = 1; pass < lanes; pass *= 2) {
    WordVec next[lanes];
    XINSLM_UNROLL
    for (int i = 0; i < lanes / 2; ++i) {
      const WordVec a = square[i], b = square[i + lanes / 2];
#if defined(__AVX512F__)
      next[2 * i] = __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      next[2 * i + 1] = __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
#elif defined(__AVX2__)
      next[2 * i] = __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
      next[2 * i + 1] = __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
#else
      next[2 * i] = __builtin_shufflevector(a, b, 0, 4, 1, 5);
      next[2 * i + 1] = __builtin_shufflevector(a, b, 2, 6, 3, 7);
#endif
    }
    XINSLM_UNROLL_16
    for (int i = 0; i < lanes; ++i) square[i] = next[i];
  }
}

/// `lanes` bytes, signed or not, as numbers; spelt out where compilers would take the conversion apart.
template <class Byte>
XINSLM_INLINE IntVec widened(const Byte* from) {
  [[maybe_unused]] constexpr bool is_signed = Byte(-1) < Byte(0);
#if defined(__AVX512F__)
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  return bits_as<IntVec>(is_signed ? _mm512_maskz_cvtepi8_epi32(0xffff, bytes)
                                   : _mm512_maskz_cvtepu8_epi32(0xffff, bytes));
#elif defined(__AVX2__)
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
  return bits_as<IntVec>(is_signed ? _mm256_cvtepi8_epi32(bytes) : _mm256_cvtepu8_epi32(bytes));
#else
  typedef Byte Part __attribute__((vector_size(lanes)));
  Part part;
  __builtin_memcpy(&part, from, sizeof part);
  return __builtin_convertvector(part, IntVec);
#endif
}
XINSLM_INLINE Vec load(const int8_t* p) {
  return __builtin_convertvector(widened(p), Vec);
}

/// The first count < lanes values, the rest zero.
template <class T>
XINSLM_INLINE Vec load_part(const T* p, int64_t count) {
  T part[lanes] = {};
  for (int64_t i = 0; i < count; ++i) part[i] = p[i];
  return load(part);
}
template <class T>
XINSLM_INLINE void store_part(T* p, Vec v, int64_t count) {
  T part[lanes];
  store(part, v);
  for (int64_t i = 0; i < count; ++i) p[i] = part[i];
}

/// How for_vectors() has its body read and write: access(p) loads, access(p, v) stores.
struct WholeVector {
  template <class T>
  XINSLM_INLINE Vec operator()(const T* p) const {
    return load(p);
  }
  template <class T>
  XINSLM_INLINE void operator()(T* p, Vec v) const {
    store(p, v);
  }
};
struct PartVector {
  int64_t count;
  template <class T>
  XINSLM_INLINE Vec operator()(const T* p) const {
    return load_part(p, count);
  }
  template <class T>
  XINSLM_INLINE void operator()(T* p, Vec v) const {
    store_part(p, v, count);
  }
};
/// Calls body(first, access) for each vector of [0, size); `access` does the partial last one right.
template <class Body>
XINSLM_INLINE void for_vectors(int64_t size, const Body& body) {
  int64_t i = 0;
  for (; i + lanes <= size; i += lanes) body(i, WholeVector{});
  if (i < size) body(i, PartVector{size - i});
}

/// Joins halves with `join` until one number is left.
template <class Join>
XINSLM_INLINE float fold(Vec v, const Join& join) {
#if defined(__AVX512F__)
  v = join(v, __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15));
  v = join(v, __builtin_shufflevector(v, v, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7));
  v = join(v, __builtin_shufflevector(v, v, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3));
  v = join(v, __builtin_shufflevector(v, v, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1));
#elif defined(__AVX2__)
  v = join(v, __builtin_shufflevector(v, v, 4, 5, 6, 7, 4, 5, 6, 7));
  v = join(v, __builtin_shufflevector(v, v, 2, 3, 2, 3, 2, 3, 2, 3));
  v = join(v, __builtin_shufflevector(v, v, 1, 1, 1, 1, 1, 1, 1, 1));
#else
  v = join(v, __builtin_shufflevector(v, v, 2, 3, 2, 3));
  v = join(v, __builtin_shufflevector(v, v, 1, 1, 1, 1));
#endif
  return v[0];
}
XINSLM_INLINE float sum(Vec v) {
  return fold(
      v, [](Vec a, Vec b) __attribute__((always_inline)) { return a + b; });
}
XINSLM_INLINE float maximum(Vec v) {
  return fold(
      v, [](Vec a, Vec b) __attribute__((always_inline)) { return select(a < b, b, a); });
}
/// out[i] = sum(v[i])
XINSLM_INLINE void store_sums(float* out, const Vec (&v)[1]) {
  *out = sum(v[0]);
}
/// The four fold together: half the shuffles of four sum()s.
XINSLM_INLINE void store_sums(float* out, const Vec (&v)[4]) {
  typedef float Quad __attribute__((vector_size(16)));
  Quad quad[4];
  XINSLM_UNROLL
  for (int i = 0; i < 4; ++i) {
#if defined(__AVX512F__)
    const auto half = __builtin_shufflevector(v[i], v[i], 0, 1, 2, 3, 4, 5, 6, 7) +
                      __builtin_shufflevector(v[i], v[i], 8, 9, 10, 11, 12, 13, 14, 15);
#else
    const Vec half = v[i];
#endif
#if defined(__AVX2__)
    quad[i] = __builtin_shufflevector(half, half, 0, 1, 2, 3) + __builtin_shufflevector(half, half, 4, 5, 6, 7);
#else
    quad[i] = half;
#endif
  }
  const Quad first = __builtin_shufflevector(quad[0], quad[1], 0, 4, 1, 5) +
                     __builtin_shufflevector(quad[0], quad[1], 2, 6, 3, 7);  // a0+a2, b0+b2, a1+a3, b1+b3
  const Quad second =
      __builtin_shufflevector(quad[2], quad[3], 0, 4, 1, 5) + __builtin_shufflevector(quad[2], quad[3], 2, 6, 3, 7);
  const Quad sums =
      __builtin_shufflevector(first, second, 0, 1, 4, 5) + __builtin_shufflevector(first, second, 2, 3, 6, 7);
  __builtin_memcpy(out, &sums, sizeof sums);
}
/// NaN in `a` gives b: use where only numbers are compared.
XINSLM_INLINE Vec larger_of(Vec a, Vec b) {
  return select(a > b, a, b);
}
XINSLM_INLINE Vec smaller_of(Vec a, Vec b) {
  return select(a < b, a, b);
}

/// What numbers up to `largest` are multiplied by to become codes up to `steps`. 0, so that they become zeros, where
/// the quotient might be infinite.
XINSLM_INLINE float code_factor(float steps, float largest) {
  return largest > 0x1p-100f ? steps / largest : 0.0f;
}

/// e^x within 2 units in the last place; 0 below -87.3, e^88.37 above 88.37, NaN stays NaN. Range reduction by ln 2 in
/// two parts (Cody & Waite 1980), then a polynomial of degree 6.
XINSLM_INLINE Vec exponential(Vec x) {
  const Vec clamped = select(x > 88.37f, all(88.37f), x);
  const Vec shifted = clamped * 1.44269504089f + 12582912.0f;  // 1.5 * 2^23: the sum's low bits are the rounded value
  const Vec n = shifted - 12582912.0f;
  const Vec r = clamped - n * 0.693359375f - n * -2.12194440e-4f;
  Vec p = all(1.0f / 720);
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const IntVec exponent = (bits_as<IntVec>(shifted) - 0x4b400000 + 127) << 23;
  return select(x < -87.3f, Vec{}, p * bits_as<Vec>(exponent));
}

XINSLM_INLINE Vec sigmoid(Vec x) {
  return 1.0f / (1.0f + exponential(-x));
}

/// tanh x, within 2e-7 of the true value (not relative to it).
XINSLM_INLINE Vec hyperbolic_tangent(Vec x) {
  return 1.0f - 2.0f / (exponential(2.0f * x) + 1.0f);
}

}  // namespace xinslm::XINSLM_ISA
