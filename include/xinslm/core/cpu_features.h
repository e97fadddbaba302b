#pragma once
#include <string>
#include <vector>

namespace xinslm {

/// Instruction sets our kernels are compiled for: those of x86, each including the ones before it, and those of arm64,
/// likewise. `scalar` is what every processor of the kind has; on arm64 that is NEON.
enum class Isa { scalar, avx2, avx512, avx512_bf16, amx, neon_dotprod, neon_i8mm };

/// The enumerator's name.
std::string isa_name(Isa isa);

/// What this processor and its operating system can run, from the least to the most.
const std::vector<Isa>& supported_isas();

/// The set in use: the best supported one, or the one the environment variable XINSLM_ISA names.
/// @throws Error(usage) when XINSLM_ISA names an unknown set or one this processor lacks
Isa active_isa();

/// Uses another set from now on. @throws Error(usage) when the processor lacks it
void set_active_isa(Isa isa);

/// Whether LibTorch's products of bfloat16 use instructions made for it: with AVX-512 in use, or arm64's BF16 extension.
bool has_bfloat16_products();

}  // namespace xinslm
