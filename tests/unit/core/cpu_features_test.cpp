#include "xinslm/core/cpu_features.h"

#include <gtest/gtest.h>

#include "xinslm/core/error.h"

using namespace xinslm;

TEST(CpuFeatures, EveryProcessorHasTheScalarSet) {
  ASSERT_FALSE(supported_isas().empty());
  EXPECT_EQ(supported_isas().front(), Isa::scalar);
}

TEST(CpuFeatures, TheSetInUseCanBeChangedToAnySupportedOne) {
  const Isa before = active_isa();
  for (const Isa isa : supported_isas()) {
    set_active_isa(isa);
    EXPECT_EQ(active_isa(), isa);
  }
  set_active_isa(before);
}

TEST(CpuFeatures, SetsTheProcessorLacksAreRefused) {
#if defined(__aarch64__)
  EXPECT_THROW(set_active_isa(Isa::avx2), Error);
#else
  EXPECT_THROW(set_active_isa(Isa::neon_dotprod), Error);
#endif
}
