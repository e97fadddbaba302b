#include "ops/cpu/decode_kernels.h"

#include <initializer_list>

#include "kernels/kernel_values.h"

namespace xinslm::test {
namespace {

constexpr int64_t block = 32;

/// Keys or values as the cache keeps them, and what they are worth.
struct Stored {
  std::vector<unsigned char> bytes;
  std::vector<float> scales;
  Doubles worth;
};

Stored random_stored(StoredElement element, int64_t rows, int64_t width, std::mt19937& random) {
  std::normal_distribution<double> normal;
  Stored stored;
  const auto keep = [&](const auto& kept) {
    stored.bytes.resize(stored.bytes.size() + sizeof kept);
    std::memcpy(&stored.bytes[stored.bytes.size() - sizeof kept], &kept, sizeof kept);
  };
  for (int64_t i = 0; i < rows * width; ++i) {
    const auto value = static_cast<float>(normal(random));
    if (element == stored_int8) {
      const float scale = i % block == 0 ? 0.01f + 0.001f * static_cast<float>(random() % 9) : 0.0f;
      if (i % width == 0) stored.scales.push_back(scale);
      const auto code = static_cast<int8_t>(static_cast<int>(random() % 255) - 127);
      keep(code);
      stored.worth.push_back(static_cast<double>(code) * stored.scales.back());
    } else if (element == stored_float16) {
      // Any sign and fraction, below 1; those of 0 are subnormal numbers.
      const int exponent = static_cast<int>(random() % 16), fraction = static_cast<int>(random() % 1024);
      const bool negative = random() % 2 == 1;
      keep(static_cast<uint16_t>((negative ? 0x8000 : 0) | exponent << 10 | fraction));
      const double size = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
      stored.worth.push_back(negative ? -size : size);
    } else {
      const Values one(element == stored_float32 ? element_float32 : element_bfloat16, Doubles{value});
      if (element == stored_float32) keep(*one.floats());
      if (element == stored_bfloat16) keep(*static_cast<const uint16_t*>(one.data()));
      stored.worth.push_back(one[0]);
    }
  }
  return stored;
}

enum class Query { any, rounded };

/// Rounded queries stay as they are when dot products round them to what keys are kept in.
Values random_query(Query kind, StoredElement element, int64_t size, std::mt19937& random) {
  Values query = random_values(element_float32, size, random, 0.3);
  if (kind == Query::any) return query;
  if (element == stored_bfloat16) query = Values(element_float32, Values(element_bfloat16, query.numbers()).numbers());
  for (int64_t first = 0; element == stored_int8 && first < size; first += block) {
    double largest = 0;
    for (int64_t i = first; i < first + block; ++i) largest = std::max(largest, std::abs(query[i]));
    for (int64_t i = first; i < first + block; ++i) query.set(i, std::round(query[i] / largest * 127) / 127 * largest);
  }
  return query;
}

/// How far off sums may be, relative to the largest: dot products round queries to what keys are kept in, and weights
/// to 8 or 16 bits.
double attend_bound(Query kind, StoredElement element) {
  if (multiplies_pairs() && element == stored_bfloat16) return kind == Query::any ? 0.02 : 4e-3;
  if (multiplies_pairs() && element == stored_int8) return kind == Query::any ? 0.05 : 3e-4;
  return 1e-5;
}

void check_attend(Query kind, StoredElement element, int64_t tokens, int64_t group, int64_t width, std::mt19937& random,
                  Checks& checks) {
  const Stored keys = random_stored(element, tokens, width, random),
               values = random_stored(element, tokens, width, random);
  const Values query = random_query(kind, element, group * width, random);
  Values scores(element_float32, group * attend_tokens), largest(element_float32, group), total(element_float32, group);
  Values mixed(element_float32, group * width);
  Doubles most(static_cast<size_t>(group), -HUGE_VAL), sums(static_cast<size_t>(group));
  Doubles mixes(static_cast<size_t>(group * width));
  for (int64_t head = 0; head < group; ++head) {
    Doubles score(static_cast<size_t>(tokens));
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t i = 0; i < width; ++i) score[t] += query[head * width + i] * keys.worth[t * width + i];
      most[head] = std::max(most[head], score[t]);
    }
    for (int64_t t = 0; t < tokens; ++t) {
      const double weight = std::exp(score[t] - most[head]);
      sums[head] += weight;
      for (int64_t i = 0; i < width; ++i) mixes[head * width + i] += weight * values.worth[t * width + i];
    }
  }
  decode_kernels().attend[element]({query.floats(), keys.bytes.data(), values.bytes.data(), keys.scales.data(),
                                    values.scales.data(), tokens, group, width, scores.floats(), largest.floats(),
                                    total.floats(), mixed.floats()});
  const std::string what = at_size("attend", tokens, width) + ", stored element " + std::to_string(element);
  const double bound = attend_bound(kind, element);
  checks.near(largest, most, what + ", largest", bound);
  checks.near(total, sums, what + ", total", bound);
  checks.near(mixed, mixes, what + ", mixed", bound);
  checks.at_most(scores.guards_intact() ? 0 : 1, 0, what + " writes beyond its scratch");
}

/// One token's value is the result; those too small for 16-bit weights become zeros.
void check_attend_magnitudes(Checks& checks) {
  constexpr int64_t width = 64;
  for (const float scale : {1e-44f, 1e-38f, 1e-36f, 1e-33f, 1e-28f, 1e-12f, 1e12f, 1e34f}) {
    for (const float query_size : {1e-44f, 1e-36f, 1.0f}) {
      Values query(element_float32, Doubles(width, query_size));
      std::vector<int8_t> codes(width, 100);
      const float key_scale = 0.01f;
      Values scores(element_float32, attend_tokens), largest(element_float32, 1), total(element_float32, 1);
      Values mixed(element_float32, width);
      decode_kernels().attend[stored_int8]({query.floats(), codes.data(), codes.data(), &key_scale, &scale, 1, 1, width,
                                            scores.floats(), largest.floats(), total.floats(), mixed.floats()});
      const double expected = 100.0 * scale;
      double worst = 0;
      for (int64_t i = 0; i < width; ++i) worst = std::max(worst, std::abs(mixed[i] - expected));
      checks.at_most(std::isnan(mixed[0]) ? HUGE_VAL : worst / expected, scale < 1e-30f ? 1 : 1e-4,
                     "attend of values of magnitude " + std::to_string(std::log10(scale)));
    }
  }
}

void check_join(int64_t stretches, int64_t width, bool with_sink, std::mt19937& random, Checks& checks) {
  constexpr int64_t stride = 2;
  Values largest = random_values(element_float32, stretches * stride, random);
  Values total = random_values(element_float32, stretches * stride, random);
  const Values mixed = random_values(element_float32, stretches * stride * width, random);
  const float sink = 0.4f;
  if (stretches > 1) largest.set(stride, -HUGE_VAL);  // a stretch without tokens
  double all = with_sink ? std::exp(sink) : 0;
  Doubles expected(static_cast<size_t>(width));
  for (int64_t s = 0; s < stretches; ++s) {
    total.set(s * stride, s == 1 ? 0 : 1 + std::abs(total[s * stride]));
    all += total[s * stride] * std::exp(largest[s * stride]);
    for (int64_t i = 0; i < width; ++i) expected[i] += mixed[s * stride * width + i] * std::exp(largest[s * stride]);
  }
  for (double& number : expected) number /= all;
  Values out(element_float32, width);
  decode_kernels().join_stretches(largest.floats(), total.floats(), mixed.floats(), stretches, stride,
                                  with_sink ? &sink : nullptr, width, out.floats());
  checks.near(out, expected, at_size("join_stretches", stretches, width), 1e-5);
}

void check_matrix(Element e, int64_t height, int64_t width, std::mt19937& random, Checks& checks) {
  const Values x = random_values(element_float32, height, random), matrix = random_values(e, height * width, random);
  Values out = random_values(element_float32, width, random);
  Doubles expected = out.numbers();
  for (int64_t i = 0; i < height * width; ++i) expected[i % width] += x[i / width] * matrix[i];
  decode_kernels().add_vector_times_matrix[e](x.floats(), matrix.data(), height, width, out.floats());
  checks.near(out, expected, at_size("add_vector_times_matrix", height, width), 1e-5);
}

}  // namespace

void check_decode_kernels(Checks& checks) {
  std::mt19937 random(7);
  const auto check_attends = [&](Query kind, std::initializer_list<int64_t> numbers_of_tokens) {
    for (int element = 0; element < stored_elements; ++element) {
      for (const int64_t width : {32, 64, 96, 128, 20, 7}) {
        if (element == stored_int8 && width % block != 0) continue;
        for (const int64_t tokens : numbers_of_tokens) {
          for (const int64_t group : {1, 2, 3, 5, 8}) {
            check_attend(kind, static_cast<StoredElement>(element), tokens, group, width, random, checks);
          }
        }
      }
    }
  };
  check_attends(Query::any, {1, 5, 67, 263});
  check_attends(Query::rounded, {1, 5, 67, 263, 1100});
  check_attend_magnitudes(checks);
  for (const int64_t stretches : {1, 3}) {
    for (const bool with_sink : {false, true}) {
      for (const int64_t width : {3, 64, 67}) check_join(stretches, width, with_sink, random, checks);
    }
  }
  for (const Element e : all_elements) {
    for (const int64_t width : {1, 4, 16, 39, 4103}) check_matrix(e, 13, width, random, checks);
  }
}

}  // namespace xinslm::test
