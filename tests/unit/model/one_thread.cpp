#include <ATen/Parallel.h>
#include <gtest/gtest.h>

namespace {

/// The models tested here are so small that threads would spend their time waiting for each other.
class OneThread : public ::testing::Environment {
 public:
  void SetUp() override { at::set_num_threads(1); }
};

[[maybe_unused]] const auto* const environment = ::testing::AddGlobalTestEnvironment(new OneThread);

}  // namespace
