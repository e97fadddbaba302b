// Every instruction set's kernels beside plain arithmetic.
//   test_kernels [ISA]
// ISA: one that the processor must have, as the emulated one must, so that nothing goes unchecked.
#include "kernels/kernel_values.h"

using namespace xinslm;
using namespace xinslm::test;

bool xinslm::test::multiplies_pairs() {
  return active_isa() == Isa::avx512_bf16 || active_isa() == Isa::amx;
}

int main(int count, char** arguments) {
  int failures = 0;
  bool found = count < 2;
  for (const Isa isa : supported_isas()) {
    found = found || isa_name(isa) == arguments[1];
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
  if (!found) std::printf("the processor lacks %s, so not all kernels were checked\n", arguments[1]);
  return failures > 0 || !found ? 1 : 0;
}
