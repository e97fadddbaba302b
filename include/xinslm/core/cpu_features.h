#pragma once
#include <string>
#include <vector>

namespace xinslm {

/// Instruction sets our kernels are compiled for, each including those before it. On processors that are not x86 there
/// is only `scalar`, which there means what every processor of the kind has (NEON on arm64).
enum class Isa { scalar, avx2, avx512, avx512_bf16 };

/// "scalar", "avx2", "avx512" or "avx512_bf16".
std::string isa_name(Isa isa);

/// What this processor and its operating system can run, from the least to the most.
const std::vector<Isa>& supported_isas();

/// The set in use: the best supported one, or the one the environment variable XINSLM_ISA names.
/// @throws Error(usage) when XINSLM_ISA names an unknown set or one this processor lacks
Isa active_isa();

/// Uses another set from now on. @throws Error(usage) when the processor lacks it
void set_active_isa(Isa isa);

}  // namespace xinslm
