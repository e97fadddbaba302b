// All kernels as arm64 computes them, each instruction set beside plain arithmetic; run by an emulator.
#include "kernels/kernel_values.h"

using namespace xinslm;
using namespace xinslm::test;

int main() {
  int failures = 0;
  for (const Isa isa : supported_isas()) {
    set_active_isa(isa);
    Checks checks(isa_name(isa));
    check_row_kernels(checks);
    check_training_kernels(checks);
    check_moe_kernels(checks);
    check_attention_kernels(checks);
    check_decode_kernels(checks);
    check_packed_kernels(checks);
    check_compact_kernels(checks);
    std::printf("%s: checked, %d differences\n", isa_name(isa).c_str(), checks.failures());
    failures += checks.failures();
  }
  if (supported_isas().back() != Isa::neon_i8mm) {
    std::puts("the emulated processor lacks i8mm, so not all kernels were checked");
    return 1;
  }
  return failures > 0 ? 1 : 0;
}
