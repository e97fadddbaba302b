#pragma once
// Four neighbouring bytes of each of `lanes` weight rows times four bytes of an activation row, summed per row;
// what instruction sets differ in is in the two headers at the end.
#include "ops/cpu/isa/simd.h"
#ifdef __AVX2__
#include <immintrin.h>
#endif

#define XINSLM_UNROLL_16 _Pragma("GCC unroll 16")

namespace xinslm::XINSLM_ISA {

typedef uint8_t ByteVec __attribute__((vector_size(4 * lanes)));

XINSLM_INLINE ByteVec load_bytes(const uint8_t* p) {
  ByteVec v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

/// The codes' low bytes.
XINSLM_INLINE void store_bytes(int8_t* to, IntVec codes) {
  typedef int8_t Part __attribute__((vector_size(lanes)));
  const Part part = __builtin_convertvector(codes, Part);
  __builtin_memcpy(to, &part, sizeof part);
}

/// `lanes` bytes as numbers.
XINSLM_INLINE IntVec widened(const uint8_t* from) {
#if defined(__AVX512F__)  // spelt out, because compilers take the conversion apart
  return bits_as<IntVec>(_mm512_maskz_cvtepu8_epi32(0xffff, _mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
#elif defined(__AVX2__)
  return bits_as<IntVec>(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
#else
  typedef uint8_t Part __attribute__((vector_size(lanes)));
  Part part;
  __builtin_memcpy(&part, from, sizeof part);
  return __builtin_convertvector(part, IntVec);
#endif
}

}  // namespace xinslm::XINSLM_ISA

#ifdef __AVX2__
#include "ops/cpu/isa/packed_dot_x86.h"
#else
#include "ops/cpu/isa/packed_dot_signed.h"
#endif
