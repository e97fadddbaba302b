// How fast the kernels that generate a token read memory, beside plain reading of the same memory in turns.
//   bench_reading [ROUNDS [PART OF A NAME]]
// Two medians say more here than two runs do: each measurement takes some milliseconds and is divided by plain readings
// just before and after it, since memory that is shared with other machines changes its speed from second to second.
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "ops/cpu/compact_kernels.h"
#include "ops/cpu/decode_kernels.h"
#include "ops/cpu/packed_kernels.h"

namespace xinslm {
namespace {

constexpr int64_t piece = int64_t{32} << 20;     // bytes that a thread reads at a time, more than caches keep
constexpr int64_t region = int64_t{768} << 20;   // a thread's memory, of which it takes one piece after the other
constexpr int64_t margin = int64_t{1} << 20;     // that kernels may ask for beyond a piece
constexpr int64_t large_page = int64_t{2} << 20;
constexpr int64_t block = 32, group_rows = 16;

/// A thread's share: `bytes` from `memory` on are read, and what comes of it is added to `sum`.
using Read = std::function<void(const uint8_t* memory, int64_t bytes, float& sum)>;

struct Subject {
  std::string name;
  Isa isa;
  Read read;
};

void read_plainly(const uint8_t* memory, int64_t bytes, float& sum) {
  uint64_t sums[8] = {}, words[8];
  for (int64_t i = 0; i < bytes; i += sizeof words) {
    std::memcpy(words, memory + i, sizeof words);
    for (int j = 0; j < 8; ++j) sums[j] += words[j];
  }
  for (const uint64_t one : sums) sum += static_cast<float>(one & 1);
}

/// An activation row in 8 bits.
struct Activations {
  std::vector<int8_t> codes;
  std::vector<StretchScale> scales;
  std::vector<DotStart> starts;

  explicit Activations(int64_t blocks)
      : codes(static_cast<size_t>((blocks + 1) * block), 1),
        scales(static_cast<size_t>(blocks / stretch_blocks + 2), {1, 0}),
        starts(static_cast<size_t>(blocks + 1)) {}
  QuantizedRows rows() const { return {codes.data(), scales.data(), starts.data()}; }
};

/// Scales in the last 32nd of what is read, as apart from the values as they are in a model.
void read_mxfp4(int64_t width, const uint8_t* memory, int64_t bytes, float& sum) {
  const int64_t blocks = width / block, value_bytes = blocks * group_rows * block / 2, scale_bytes = blocks * 8;
  const Activations x(blocks);
  float out[group_rows];
  const uint8_t *values = memory, *scales = memory + bytes / 33 * 32;
  for (; scales + scale_bytes <= memory + bytes; values += value_bytes, scales += scale_bytes) {
    packed_kernels().mxfp4_with_half_scales(values, scales, 110, blocks, x.rows(), out);
    sum += out[0];
  }
}

void read_q8(int64_t width, const uint8_t* memory, int64_t bytes, float& sum) {
  const int64_t blocks = width / block, value_bytes = blocks * group_rows * block;
  const Activations x(blocks);
  float out[group_rows];
  const uint8_t *values = memory, *scales = memory + bytes / 17 * 16 / 64 * 64;
  for (const uint8_t* end = scales; values + value_bytes <= end; values += value_bytes, scales += value_bytes / 16) {
    packed_kernels().q8(values, reinterpret_cast<const uint16_t*>(scales), blocks, x.rows(), 1, out, group_rows);
    sum += out[0];
  }
}

void read_compact(int64_t width, const uint8_t* memory, int64_t bytes, float& sum) {
  constexpr int64_t rows = 64, columns = 64, block_bytes = 96;
  const int64_t blocks = width / columns;
  const std::vector<float> x(static_cast<size_t>(width), 1);
  uint8_t table[16];
  std::fill_n(table, 16, uint8_t{60});
  float out[rows];
  for (int64_t i = 0; i + rows * blocks * block_bytes <= bytes; i += rows * blocks * block_bytes) {
    compact_kernels().times_vector(memory + i, table, blocks, rows, x.data(), out);
    sum += out[0];
  }
}

/// Keys and values of 4,000 tokens for three query heads of 64.
void read_cache(StoredElement element, const uint8_t* memory, int64_t bytes, float& sum) {
  constexpr int64_t tokens = 4000, group = 3, width = 64;
  const int64_t cached = tokens * width * (element == stored_int8 ? 1 : 2);
  const std::vector<float> query(group * width, 0.01f), scales(tokens * width / block, 0.01f);
  std::vector<float> scores(group * tokens), mixed(group * width);
  float largest[group], total[group];
  AttendProblem problem{query.data(), nullptr, nullptr,       scales.data(), scales.data(), tokens,
                        group,        width,   scores.data(), largest,       total,         mixed.data()};
  for (int64_t i = 0; i + 2 * cached <= bytes; i += 2 * cached) {
    problem.keys = memory + i;
    problem.values = memory + i + cached;
    decode_kernels().attend[element](problem);
    sum += mixed[0];
  }
}

std::vector<Subject> subjects() {
  std::vector<Subject> all;
  for (const Isa isa : supported_isas()) {
    if (isa == Isa::scalar) continue;
    const auto add = [&](const std::string& what, Read read) { all.push_back({isa_name(isa) + " " + what, isa, read}); };
    using std::placeholders::_1, std::placeholders::_2, std::placeholders::_3;
    for (const int64_t width : {768, 2048, 2880}) {
      const std::string columns = ", " + std::to_string(width) + " columns";
      add("mxfp4" + columns, std::bind(read_mxfp4, width, _1, _2, _3));
      add("q8" + columns, std::bind(read_q8, width, _1, _2, _3));
      add("compact bfloat16" + columns, std::bind(read_compact, width, _1, _2, _3));
    }
    add("keys and values, bfloat16", std::bind(read_cache, stored_bfloat16, _1, _2, _3));
    add("keys and values, q8", std::bind(read_cache, stored_int8, _1, _2, _3));
  }
  return all;
}

/// Memory in large pages, of bytes that are small numbers in every format.
uint8_t* fresh_memory() {
  const int64_t bytes = region + margin + large_page;
  void* mapped = mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) {
    std::fprintf(stderr, "bench_reading: no memory for %lld bytes\n", static_cast<long long>(bytes));
    std::exit(1);
  }
  auto* memory = reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(mapped) + large_page - 1) & -large_page);
  madvise(memory, static_cast<size_t>(region + margin), MADV_HUGEPAGE);
  uint32_t random = 1;
  for (int64_t i = 0; i < region + margin; i += 4) {
    random = random * 1664525 + 1013904223;
    const uint32_t word = (random & 0x8fff8fff) | 0x30003000;
    std::memcpy(memory + i, &word, sizeof word);
  }
  return memory;
}

class Bench {
 public:
  explicit Bench(size_t threads) : memory_(threads) {
    for (uint8_t*& one : memory_) one = fresh_memory();
  }

  /// Bytes a second that all threads read together.
  double measure(const Read& read) {
    // Threads at places that differ, or they would open the same rows of the memory's chips.
    std::vector<std::thread> threads;
    const auto start = std::chrono::steady_clock::now();
    for (size_t t = 0; t < memory_.size(); ++t) {
      const int64_t place = (next_ + static_cast<int64_t>(t) * 7) % (region / piece) * piece;
      threads.emplace_back([&read, from = memory_[t] + place] {
        float sum = 0;
        read(from, piece, sum);
        volatile float kept = sum;
        static_cast<void>(kept);
      });
    }
    for (std::thread& one : threads) one.join();
    ++next_;
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    return static_cast<double>(piece) * static_cast<double>(memory_.size()) / taken.count();
  }

 private:
  std::vector<uint8_t*> memory_;
  int64_t next_ = 0;
};

double quantile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(share * static_cast<double>(values.size() - 1))];
}

}  // namespace
}  // namespace xinslm

int main(int count, char** arguments) {
  using namespace xinslm;
  const int rounds = count > 1 ? std::atoi(arguments[1]) : 40;
  const std::string wanted = count > 2 ? arguments[2] : "";
  if (rounds < 1) {
    std::fprintf(stderr, "bench_reading: '%s' rounds, expected a number above 0\n", arguments[1]);
    return 2;
  }
  Bench bench(std::max(1u, std::thread::hardware_concurrency()));
  std::vector<Subject> all = subjects();
  std::erase_if(all, [&](const Subject& one) { return one.name.find(wanted) == std::string::npos; });
  std::vector<std::vector<double>> speeds(all.size()), shares(all.size());
  for (int round = 0; round < rounds; ++round) {
    for (size_t i = 0; i < all.size(); ++i) {
      set_active_isa(all[i].isa);
      const double before = bench.measure(read_plainly), speed = bench.measure(all[i].read);
      const double after = bench.measure(read_plainly);
      speeds[i].push_back(speed / 1e9);
      shares[i].push_back(2 * speed / (before + after));
    }
  }
  std::printf("%-44s %6s %18s %s\n", "median of rounds", "GB/s", "of plain reading", "  quartiles");
  for (size_t i = 0; i < all.size(); ++i) {
    std::printf("%-44s %6.1f %18.2f   %.2f to %.2f\n", all[i].name.c_str(), quantile(speeds[i], 0.5),
                quantile(shares[i], 0.5), quantile(shares[i], 0.25), quantile(shares[i], 0.75));
  }
  return 0;
}
