#pragma once
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "xinslm/core/error.h"
#include "xinslm/core/random.h"

namespace xinslm::test {

/// Standard normal values, float32.
inline at::Tensor normal(at::IntArrayRef sizes, uint64_t seed) {
  RandomStream stream{seed};
  at::Tensor x = at::empty(sizes, at::kFloat);
  for (int64_t i = 0; i < x.numel(); ++i) x.data_ptr<float>()[i] = static_cast<float>(stream.normal());
  return x;
}

/// Bytes 0 to bound - 1.
inline at::Tensor random_bytes(at::IntArrayRef sizes, uint64_t seed, uint64_t bound = 256) {
  RandomStream stream{seed};
  at::Tensor x = at::empty(sizes, at::kByte);
  for (int64_t i = 0; i < x.numel(); ++i) x.data_ptr<uint8_t>()[i] = static_cast<uint8_t>(stream.below(bound));
  return x;
}

inline at::Tensor tensor_of(const std::vector<float>& values, at::IntArrayRef sizes) {
  return at::tensor(values, at::kFloat).view(sizes);
}

/// The same type, sizes and bytes: unlike equality of numbers it tells -0 from 0.
inline bool same_bytes(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() && a.is_contiguous() && b.is_contiguous() &&
         std::memcmp(a.const_data_ptr(), b.const_data_ptr(), a.nbytes()) == 0;
}

/// The message of the Error of this kind that the action throws; the test fails on anything else.
inline std::string error_of(ErrorKind kind, const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "expected an error";
  return "";
}

inline void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << text << "\ndoes not contain\n" << part;
}

}  // namespace xinslm::test
