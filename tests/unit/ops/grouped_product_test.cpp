#include "ops/cpu/grouped_product.h"

#include <ATen/ATen.h>

#include "unit/ops/check.h"
#include "xinslm/core/cpu_features.h"

using namespace xinslm;
using namespace xinslm::test;

namespace {

struct Sizes {
  cpu::GroupBegins begin;
  int64_t k, n;
  int64_t rows() const { return begin.back(); }
  int64_t groups() const { return static_cast<int64_t>(begin.size()) - 1; }
};

// Groups without rows, with fewer than the kernels take, and with odd numbers; widths beside those of tiles and panels.
const Sizes all_sizes[] = {
    {{0, 13, 13, 14, 51}, 26, 33}, {{0, 0, 9, 100, 101}, 64, 32}, {{0, 67}, 2, 1},
    {{0, 15, 44, 44}, 34, 200},    {{0, 3, 40, 200}, 21, 65},
};

/// Runs `body` for both types and every instruction set of this processor.
template <class Body>
void for_types_and_isas(const Body& body) {
  const Isa before = active_isa();
  for (const Isa isa : supported_isas()) {
    set_active_isa(isa);
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
      for (const Sizes& sizes : all_sizes) {
        SCOPED_TRACE(::testing::Message() << isa_name(isa) << " " << type << " k " << sizes.k << " n " << sizes.n);
        body(sizes, type);
      }
    }
  }
  set_active_isa(before);
}

void expect_close(const at::Tensor& found, const at::Tensor& expected) {
  EXPECT_LT(distance(found.to(at::kFloat), expected), found.scalar_type() == at::kFloat ? 1e-5 : 5e-3);
}

}  // namespace

TEST(GroupedProduct, MatchesTheProductOfEachGroup) {
  for_types_and_isas([](const Sizes& s, at::ScalarType type) {
    for (const bool transposed : {false, true}) {
      const at::Tensor a = normal({s.rows(), s.k}, 1, type);
      const at::Tensor b =
          normal(transposed ? at::IntArrayRef{s.groups(), s.n, s.k} : at::IntArrayRef{s.groups(), s.k, s.n}, 2, type);
      const at::Tensor c = at::full({s.rows(), s.n}, std::nan(""), a.options());
      cpu::grouped_product(a, s.begin, b, transposed, c);
      for (int64_t group = 0; group < s.groups(); ++group) {
        const int64_t first = s.begin[group], count = s.begin[group + 1] - first;
        if (count == 0) continue;
        const at::Tensor right = b[group].to(at::kFloat);
        expect_close(c.narrow(0, first, count),
                     a.narrow(0, first, count).to(at::kFloat).mm(transposed ? right.t() : right));
      }
    }
  });
}

TEST(GroupedProduct, OuterProductsMatchThoseOfEachGroup) {
  for_types_and_isas([](const Sizes& s, at::ScalarType type) {
    const at::Tensor a = normal({s.rows(), s.k}, 1, type), b = normal({s.rows(), s.n}, 2, type);
    const at::Tensor c = at::full({s.groups(), s.k, s.n}, std::nan(""), a.options());
    cpu::grouped_outer_product(a, b, s.begin, c);
    for (int64_t group = 0; group < s.groups(); ++group) {
      const int64_t first = s.begin[group], count = s.begin[group + 1] - first;
      expect_close(c[group], a.narrow(0, first, count).to(at::kFloat).t().mm(b.narrow(0, first, count).to(at::kFloat)));
    }
  });
}
