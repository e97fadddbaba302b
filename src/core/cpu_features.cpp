#include "xinslm/core/cpu_features.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#elif defined(__aarch64__)
#include <sys/sysctl.h>
#endif

#include "xinslm/core/error.h"

namespace xinslm {
namespace {

constexpr Isa all_isas[] = {Isa::scalar, Isa::avx2,         Isa::avx512,   Isa::avx512_bf16,
                            Isa::amx,    Isa::neon_dotprod, Isa::neon_i8mm};

#if defined(__x86_64__)
/// Whether the processor multiplies tiles of bfloat16 and the system lets this process do so: Linux gives the
/// registers, 8 KiB a thread, to those that ask (Documentation/arch/x86/xstate.rst).
bool has_amx() {
#if defined(__linux__)
  constexpr unsigned feature_leaf = 7, tile_bf16 = 1u << 22, tile = 1u << 24;
  constexpr long request_permission = 0x1023, tile_data = 18;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(feature_leaf, 0, &a, &b, &c, &d) || !(d & tile_bf16) || !(d & tile)) return false;
  static const bool granted = syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
  return granted;
#else
  return false;
#endif
}

bool is_supported(Isa isa) {
  // These also ask the operating system whether it saves the wide registers.
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  const bool avx512_bf16 = avx512 && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16") &&
                           __builtin_cpu_supports("avx512vbmi");
  switch (isa) {
    case Isa::scalar:
      return true;
    case Isa::avx2:
      return avx2;
    case Isa::avx512:
      return avx512;
    case Isa::avx512_bf16:
      return avx512_bf16;
    case Isa::amx:
      return avx512_bf16 && has_amx();
    default:
      return false;
  }
}
#elif defined(__aarch64__)
bool is_supported(Isa isa) {
#if defined(__linux__)
  const bool dotprod = getauxval(AT_HWCAP) & HWCAP_ASIMDDP, i8mm = getauxval(AT_HWCAP2) & HWCAP2_I8MM;
#else
  const auto has = [](const char* name) {
    int32_t value = 0;
    size_t size = sizeof value;
    return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value != 0;
  };
  const bool dotprod = has("hw.optional.arm.FEAT_DotProd"), i8mm = has("hw.optional.arm.FEAT_I8MM");
#endif
  return isa == Isa::scalar || (isa == Isa::neon_dotprod && dotprod) || (isa == Isa::neon_i8mm && dotprod && i8mm);
}
#else
bool is_supported(Isa isa) {
  return isa == Isa::scalar;
}
#endif

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
    case Isa::scalar:
      return "scalar";
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
    case Isa::avx512_bf16:
      return "avx512_bf16";
    case Isa::amx:
      return "amx";
    case Isa::neon_dotprod:
      return "neon_dotprod";
    case Isa::neon_i8mm:
      return "neon_i8mm";
  }
  return "unknown";
}

const std::vector<Isa>& supported_isas() {
  static const std::vector<Isa> found = [] {
    std::vector<Isa> isas;
    std::copy_if(std::begin(all_isas), std::end(all_isas), std::back_inserter(isas), is_supported);
    return isas;
  }();
  return found;
}

bool has_bfloat16_products() {
#if defined(__x86_64__)
  return active_isa() >= Isa::avx512;
#elif defined(__aarch64__) && defined(__linux__)
  static const bool found = getauxval(AT_HWCAP2) & HWCAP2_BF16;
  return found;
#else
  return false;
#endif
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
