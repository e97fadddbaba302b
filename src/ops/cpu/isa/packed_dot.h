#pragma once
// Four neighbouring bytes of each of `lanes` weight rows times four bytes of an activation row, summed per row;
// what instruction sets differ in is in the two headers at the end.
#include "ops/cpu/isa/simd.h"
#ifdef __AVX2__
#include <immintrin.h>
#endif

namespace xinslm::XINSLM_ISA {

typedef uint8_t ByteVec __attribute__((vector_size(4 * lanes)));

XINSLM_INLINE ByteVec load_bytes(const uint8_t* p) {
  ByteVec v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

/// The codes' low bytes.
XINSLM_INLINE void store_bytes(int8_t* to, IntVec codes) {
#ifdef __AVX512F__
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_maskz_cvtepi32_epi8(0xffff, bits_as<__m512i>(codes)));
#else
  typedef int8_t Part __attribute__((vector_size(lanes)));
  const Part part = __builtin_convertvector(codes, Part);
  __builtin_memcpy(to, &part, sizeof part);
#endif
}

}  // namespace xinslm::XINSLM_ISA

#ifdef __AVX2__
#include "ops/cpu/isa/packed_dot_x86.h"
#else
#include "ops/cpu/isa/packed_dot_signed.h"
#endif
