#include <ATen/core/dispatch/Dispatcher.h>

#include "unit/ops/check.h"
#include "xinslm/ops/rms_norm.h"

using namespace xinslm;
using namespace xinslm::test;

TEST(Registration, OperatorsAreFoundByTheDispatcher) {
  auto& dispatcher = c10::Dispatcher::singleton();
  for (const char* name : {"rms_norm", "rotary", "linear", "embedding", "dropout", "swiglu", "attention", "moe_experts",
                           "linear_cross_entropy"}) {
    EXPECT_TRUE(dispatcher.findSchema({std::string("xinslm::") + name, ""}).has_value()) << name;
  }
}

TEST(Registration, DispatchedCallsAreTheFunctionsThemselves) {
  const auto handle = c10::Dispatcher::singleton().findSchemaOrThrow("xinslm::rms_norm", "");
  const at::Tensor x = normal({3, 8}, 1), gain = normal({8}, 2).requires_grad_(true);
  const at::Tensor y = handle.typed<at::Tensor(const at::Tensor&, const at::Tensor&, double)>().call(x, gain, 1e-5);
  EXPECT_TRUE(y.equal(rms_norm(x, gain, 1e-5)));
  EXPECT_TRUE(y.requires_grad());
}
