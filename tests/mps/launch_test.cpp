#include "ops/mps/launch.h"

#include "mps/check.h"
#include "ops/mps/sources.h"
#include "xinslm/core/error.h"

using namespace xinslm;
using namespace xinslm::test;

namespace {

void expect_failure(const std::function<void()>& call, const std::string& text) {
  try {
    call();
    FAIL() << "expected: " << text;
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find(text), std::string::npos) << e.what();
  }
}

}  // namespace

TEST(Launch, NamesWhatIsMissing) {
  for (int again = 0; again < 2; ++again) {
    expect_failure([] { mps::Launch("rms_nrom", "rms_norm_forward_float"); }, "library rms_nrom");
  }
  expect_failure([] { mps::Launch("rms_norm", "rms_norm_sideways"); }, "library rms_norm: no kernel rms_norm_sideways");
}

TEST(Launch, TakesProcessorTensorsOnlyWhileSimulated) {
  const at::Tensor x = at::ones({2});
  EXPECT_FALSE(mps::is_fast(x));
  const SimulatedMetal metal;
  EXPECT_TRUE(mps::is_fast(x));
  EXPECT_TRUE(mps::is_fast(x.to(at::kHalf)));
  EXPECT_FALSE(mps::is_fast(x.to(at::kDouble)));
}

TEST(MetalSources, SayWhereTheirLinesAreFrom) {
  for (const auto& [name, text] : mps::metal_sources()) {
    EXPECT_NE(std::string(text).find("#line 1 \"" + std::string(name) + ".metal\""), std::string::npos);
    EXPECT_NE(std::string(text).find("#line 1 \"common.metal\""), std::string::npos);
  }
}
