// How fast the kernels that generate a token read memory, beside plain reading of the same memory in turns.
//   bench_reading [ROUNDS [PART OF A NAME]]
// Each measurement takes some milliseconds and is divided by plain readings just before and after it, since memory that
// is shared with other machines changes its speed from second to second; medians of the rounds are printed.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "ops/cpu/compact_kernels.h"
#include "ops/cpu/decode_kernels.h"
#include "ops/cpu/packed.h"
#include "xinslm/core/huge_pages.h"
#include "xinslm/core/memory_bandwidth.h"
#include "xinslm/quant/compact_bfloat16.h"

namespace xinslm {
namespace {

/// What a thread reads at a time: more than the caches keep, and no multiple of a power of two from the next thread's,
/// with which it would otherwise open the same rows of the memory's chips in turns.
constexpr int64_t piece = (int64_t{32} << 20) + 77 * 4096;
constexpr int64_t pieces_of_thread = 24;
constexpr int64_t group_rows = 16;

/// Reads most of `bytes` from `memory` on, and says how many.
using Read = std::function<int64_t(const uint8_t* memory, int64_t bytes)>;

struct Subject {
  std::string name;
  Isa isa;
  Read read;
};

/// An activation row.
cpu::QuantizedBuffer activations(int64_t width) {
  cpu::QuantizedBuffer x(cpu::each_alone(1), width);
  x.write(0, 0, x.blocks(), std::vector<float>(static_cast<size_t>(width), 1).data());
  return x;
}

/// Groups of 16 rows, their scales apart from the values, as they are in a model.
template <class Multiply>
int64_t read_groups(const uint8_t* memory, int64_t bytes, int64_t value_bytes, int64_t scale_bytes,
                    const Multiply& multiply) {
  const int64_t groups = bytes / (value_bytes + scale_bytes);
  const uint8_t* scales = memory + groups * value_bytes;
  for (int64_t i = 0; i < groups; ++i) multiply(memory + i * value_bytes, scales + i * scale_bytes);
  return groups * (value_bytes + scale_bytes);
}

int64_t read_mxfp4(int64_t width, const uint8_t* memory, int64_t bytes) {
  constexpr uint8_t least_scale = 110;
  const cpu::QuantizedBuffer x = activations(width);
  float out[group_rows];
  return read_groups(memory, bytes, width * group_rows / 2, (x.blocks() + 1) / 2 * group_rows,
                     [&](const uint8_t* values, const uint8_t* scales) {
                       packed_kernels().mxfp4_with_half_scales(values, scales, least_scale, x.blocks(),
                                                               x.rows().quantized, out);
                     });
}

int64_t read_q8(int64_t width, const uint8_t* memory, int64_t bytes) {
  const cpu::QuantizedBuffer x = activations(width);
  float out[group_rows];
  return read_groups(memory, bytes, width * group_rows, x.blocks() * group_rows * 2,
                     [&](const uint8_t* values, const uint8_t* scales) {
                       packed_kernels().q8(values, reinterpret_cast<const uint16_t*>(scales), x.blocks(),
                                           x.rows().quantized, 1, out, group_rows);
                     });
}

int64_t read_compact(int64_t width, const uint8_t* memory, int64_t bytes) {
  constexpr int64_t block = CompactBfloat16::block, block_bytes = CompactBfloat16::block_bytes;
  const int64_t blocks = width / block, rows = bytes / (blocks * block_bytes);
  const std::vector<float> x(static_cast<size_t>(width), 1);
  std::vector<float> out(static_cast<size_t>(rows));
  uint8_t upper_bytes[16];
  std::fill_n(upper_bytes, 16, uint8_t{60});
  compact_kernels().times_vector(memory, upper_bytes, blocks, rows, x.data(), out.data());
  return rows * blocks * block_bytes;
}

/// Keys and values of 4,000 tokens for three query heads of 64.
int64_t read_cache(StoredElement element, const uint8_t* memory, int64_t bytes) {
  constexpr int64_t tokens = 4000, group = 3, width = 64;
  const int64_t numbers = tokens * width * (element == stored_int8 ? 1 : 2);
  const int64_t scales = element == stored_int8 ? tokens * 4 : 0;
  const std::vector<float> query(group * width, 0.01f);
  std::vector<float> scores(group * attend_tokens), mixed(group * width);
  float largest[group], total[group];
  AttendProblem problem{};
  problem.query = query.data();
  problem.tokens = tokens;
  problem.group = group;
  problem.head_dim = width;
  problem.scores = scores.data();
  problem.largest = largest;
  problem.total = total;
  problem.mixed = mixed.data();
  const int64_t both = 2 * (numbers + scales), times = bytes / both;
  for (int64_t i = 0; i < times; ++i, memory += both) {
    problem.keys = memory;
    problem.values = memory + numbers;
    problem.key_scales = reinterpret_cast<const float*>(memory + 2 * numbers);
    problem.value_scales = reinterpret_cast<const float*>(memory + 2 * numbers + scales);
    decode_kernels().attend[element](problem);
  }
  return times * both;
}

/// AMX has tiles for many rows only; a single one goes through the kernels of the set below.
std::vector<Subject> subjects() {
  std::vector<Subject> all;
  for (const Isa isa : supported_isas()) {
    if (isa == Isa::scalar || isa == Isa::amx) continue;
    const auto add = [&](const std::string& what, Read read) { all.push_back({isa_name(isa) + " " + what, isa, read}); };
    const auto add_width = [&](const std::string& what, int64_t width, const auto& read) {
      add(what + ", " + std::to_string(width) + " columns",
          [=](const uint8_t* memory, int64_t bytes) { return read(width, memory, bytes); });
    };
    for (const int64_t width : {768, 2048, 2880}) {
      add_width("mxfp4", width, read_mxfp4);
      add_width("q8", width, read_q8);
      add_width("compact bfloat16", width, read_compact);
    }
    for (const StoredElement element : {stored_bfloat16, stored_int8}) {
      add(element == stored_int8 ? "keys and values, q8" : "keys and values, bfloat16",
          [=](const uint8_t* memory, int64_t bytes) { return read_cache(element, memory, bytes); });
    }
  }
  return all;
}

/// Pieces for all threads, one after the other; small numbers in every format.
class Memory {
 public:
  Memory() : memory_(empty_in_huge_pages({pieces_of_thread * turn_}, at::kByte)) {
    memory_.view(at::kInt).random_().bitwise_and_(static_cast<int>(0x8fff8fff)).bitwise_or_(0x30003000);
  }

  double read_plainly() { return measure_read_bandwidth({next()}, 1); }

  /// Bytes a second that all threads read together.
  double measure(const Read& read) {
    const at::Tensor memory = next();
    const auto* from = memory.const_data_ptr<uint8_t>();
    std::atomic<int64_t> bytes{0};
    const auto start = std::chrono::steady_clock::now();
    at::parallel_for(0, threads_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t thread = begin; thread < end; ++thread) bytes += read(from + thread * piece, piece);
    });
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    return static_cast<double>(bytes) / taken.count();
  }

 private:
  at::Tensor next() {
    place_ = (place_ + 1) % pieces_of_thread;
    return memory_.narrow(0, place_ * turn_, turn_);
  }

  const int64_t threads_ = at::get_num_threads(), turn_ = threads_ * piece;
  at::Tensor memory_;
  int64_t place_ = 0;
};

double quantile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(share * static_cast<double>(values.size() - 1))];
}

void print(const std::string& name, const std::vector<double>& speeds, const std::vector<double>& shares) {
  std::printf("%-44s %6.1f %18.2f   %.2f to %.2f\n", name.c_str(), quantile(speeds, 0.5), quantile(shares, 0.5),
              quantile(shares, 0.25), quantile(shares, 0.75));
}

}  // namespace
}  // namespace xinslm

int main(int count, char** arguments) {
  using namespace xinslm;
  const int rounds = count > 1 ? std::atoi(arguments[1]) : 40;
  const std::string wanted = count > 2 ? arguments[2] : "";
  std::vector<Subject> all = subjects();
  std::erase_if(all, [&](const Subject& one) { return one.name.find(wanted) == std::string::npos; });
  if (rounds < 1 || all.empty()) {
    std::fprintf(stderr, "bench_reading: expected a number of rounds above 0 and part of a kernel's name, mxfp4 say\n");
    return 2;
  }
  Memory memory;
  std::vector<std::vector<double>> speeds(all.size()), shares(all.size());
  for (int round = 0; round < rounds; ++round) {
    for (size_t i = 0; i < all.size(); ++i) {
      set_active_isa(all[i].isa);
      const double before = memory.read_plainly(), speed = memory.measure(all[i].read);
      const double after = memory.read_plainly();
      speeds[i].push_back(speed / 1e9);
      shares[i].push_back(2 * speed / (before + after));
    }
  }
  std::printf("%-44s %6s %18s   quartiles\n", "median of rounds", "GB/s", "of plain reading");
  for (size_t i = 0; i < all.size(); ++i) print(all[i].name, speeds[i], shares[i]);
  return 0;
}
