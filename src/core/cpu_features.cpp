#include "xinslm/core/cpu_features.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>

#include "xinslm/core/error.h"

namespace xinslm {
namespace {

constexpr Isa all_isas[] = {Isa::scalar, Isa::avx2, Isa::avx512, Isa::avx512_bf16};

bool is_supported(Isa isa) {
  if (isa == Isa::scalar) return true;
#if defined(__x86_64__)
  // These also ask the operating system whether it saves the wide registers.
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  switch (isa) {
    case Isa::avx2:
      return avx2;
    case Isa::avx512:
      return avx512;
    default:
      return avx512 && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16");
  }
#else
  return false;
#endif
}

std::string list_of_supported() {
  std::string list;
  for (const Isa isa : supported_isas()) list += (list.empty() ? "" : ", ") + isa_name(isa);
  return list;
}

Isa isa_from_environment() {
  const char* wanted = std::getenv("XINSLM_ISA");
  if (wanted == nullptr || *wanted == '\0') return supported_isas().back();
  for (const Isa isa : all_isas) {
    if (isa_name(isa) != wanted) continue;
    if (is_supported(isa)) return isa;
    usage_error("XINSLM_ISA is '", wanted, "', which this processor does not have; it has ", list_of_supported());
  }
  usage_error("XINSLM_ISA is '", wanted, "', which is no instruction set known here; this processor has ",
              list_of_supported());
}

std::atomic<Isa>& active() {
  static std::atomic<Isa> isa{isa_from_environment()};
  return isa;
}

}  // namespace

std::string isa_name(Isa isa) {
  switch (isa) {
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
    case Isa::avx512_bf16:
      return "avx512_bf16";
    default:
      return "scalar";
  }
}

const std::vector<Isa>& supported_isas() {
  static const std::vector<Isa> found = [] {
    std::vector<Isa> isas;
    std::copy_if(std::begin(all_isas), std::end(all_isas), std::back_inserter(isas), is_supported);
    return isas;
  }();
  return found;
}

Isa active_isa() {
  return active().load(std::memory_order_relaxed);
}

void set_active_isa(Isa isa) {
  if (!is_supported(isa)) {
    usage_error("this processor does not have ", isa_name(isa), "; it has ", list_of_supported());
  }
  active().store(isa, std::memory_order_relaxed);
}

}  // namespace xinslm
