#include "xinslm/core/random.h"

#include <bit>
#include <cmath>
#include <numbers>

namespace xinslm {
namespace {

uint64_t splitmix64(uint64_t& state) {
  uint64_t z = (state += 0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

}  // namespace

uint64_t mix_seed(std::initializer_list<uint64_t> key) {
  uint64_t state = 0x243f6a8885a308d3;
  for (uint64_t part : key) {
    state ^= part;
    state = splitmix64(state);
  }
  return splitmix64(state);
}

RandomStream::RandomStream(std::initializer_list<uint64_t> key) {
  uint64_t seed = mix_seed(key);
  for (uint64_t& word : state_) word = splitmix64(seed);
}

uint64_t RandomStream::operator()() {
  const uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
  const uint64_t shifted = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

double RandomStream::uniform() {
  return static_cast<double>((*this)() >> 11) * 0x1.0p-53;
}

uint64_t RandomStream::below(uint64_t bound) {
  unsigned __int128 product = static_cast<unsigned __int128>((*this)()) * bound;
  if (static_cast<uint64_t>(product) < bound) {
    const uint64_t threshold = -bound % bound;
    while (static_cast<uint64_t>(product) < threshold) product = static_cast<unsigned __int128>((*this)()) * bound;
  }
  return static_cast<uint64_t>(product >> 64);
}

double RandomStream::normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
  return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

}  // namespace xinslm
