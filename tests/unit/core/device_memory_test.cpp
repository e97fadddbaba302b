#include "xinslm/core/device_memory.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "xinslm/core/machine.h"

using namespace xinslm;

TEST(DeviceMemory, OfTheProcessorIsTheMachines) {
  EXPECT_EQ(recommended_memory(at::kCPU), total_memory());
  EXPECT_EQ(device_memory(at::kCPU).driver, 0);
  EXPECT_EQ(device_memory_text(at::kCPU), "");
  limit_memory(at::kCPU, 1);
  return_unused_memory(at::kCPU);
}

TEST(OutOfMemory, IsKnownByItsWords) {
  EXPECT_TRUE(
      is_out_of_memory("MPS backend out of memory (MPS allocated: 9 GB, other allocations: 1 GB, max allowed: "
                       "9 GB). Tried to allocate 1 GB on private pool."));
  EXPECT_TRUE(is_out_of_memory("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes"));
  EXPECT_TRUE(is_out_of_memory("Insufficient Memory (00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)"));
  EXPECT_FALSE(is_out_of_memory("shape '[2, 3]' is invalid for input of size 7"));
}
