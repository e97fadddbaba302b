#include "ops/cpu/grouped_product.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "ops/cpu/dispatch.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/product.h"
#include "ops/cpu/product_kernels.h"

namespace xinslm::cpu {
namespace {

using K = ProductKernels;

/// Panels that one task packs and multiplies by: few enough for the second-level cache, many enough that reading the
/// tiles again for each task costs little.
constexpr int64_t task_panels = 4;

/// Packing a matrix for fewer rows than this costs more than the products.
constexpr int64_t least_rows = 8;

constexpr int64_t bytes_per_value = 2;

int64_t pieces(int64_t count, int64_t size) {
  return (count + size - 1) / size;
}

/// Whether our kernels multiply this: pairs of bfloat16, an even number along k. Matrix products of the library keep a
/// kernel for every shape they meet, and groups bring new shapes at each step; those of float32 do not.
bool has_kernel(const at::Tensor& a, int64_t k) {
  return a.scalar_type() == at::kBFloat16 && k % 2 == 0 && product_kernels().multiply != nullptr;
}

/// One product c [m, n] = a [m, k] * b [k, n] and where its packed tiles lie.
struct Product {
  const char *a, *b;
  char* c;
  int64_t m, k;
  int64_t first_tile, tiles_at;  // number of its first tile among all, and the place of its pairs
  int64_t steps() const { return (k + 1) / 2; }
  int64_t tiles() const { return pieces(m, K::tile_rows); }
};

/// All products have n columns. Pack is a kernel that packs a tile or a panel; a_step and b_step are the bytes from the
/// first row of a tile or column of a panel to the next.
struct Sides {
  decltype(K::pack_tile) pack_tile;
  decltype(K::pack_panel) pack_panel;
  int64_t a_stride, b_stride, a_step, b_step;
};

void multiply_all(std::vector<Product>& products, int64_t n, const Sides& sides) {
  int64_t tiles = 0, pairs = 0, most_steps = 0;
  std::vector<size_t> product_of_tile;
  for (size_t i = 0; i < products.size(); ++i) {
    Product& product = products[i];
    product.first_tile = tiles;
    product.tiles_at = pairs;
    tiles += product.tiles();
    pairs += product.tiles() * product.steps() * K::tile_stride;
    most_steps = std::max(most_steps, product.steps());
    product_of_tile.resize(static_cast<size_t>(tiles), i);
  }
  const at::Tensor packed = at::empty({std::max<int64_t>(1, pairs)}, at::TensorOptions().dtype(at::kInt));
  const auto tile_at = [&](const Product& product, int64_t tile) {
    return packed.mutable_data_ptr<int32_t>() + product.tiles_at + tile * product.steps() * K::tile_stride;
  };
  for_parts(tiles, count_parts(tiles, 4), [&](int64_t, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Product& product = products[product_of_tile[static_cast<size_t>(i)]];
      const int64_t tile = i - product.first_tile, row = tile * K::tile_rows;
      sides.pack_tile(product.a + row * sides.a_step, sides.a_stride, std::min(K::tile_rows, product.m - row),
                      product.k, tile_at(product, tile));
    }
  });

  const int64_t panels = pieces(n, K::panel_columns), tasks = pieces(panels, task_panels);
  for_tasks(static_cast<int64_t>(products.size()) * tasks, [&](int64_t task) {
    const Product& product = products[static_cast<size_t>(task / tasks)];
    const int64_t first = task % tasks * task_panels, count = std::min(task_panels, panels - first);
    const int64_t panel_size = product.steps() * K::panel_columns;
    static thread_local std::vector<uint32_t> memory;
    memory.resize(std::max(memory.size(), static_cast<size_t>(task_panels * most_steps * K::panel_columns)));
    const auto columns_of = [&](int64_t panel) { return std::min(K::panel_columns, n - panel * K::panel_columns); };
    for (int64_t i = 0; i < count; ++i) {
      sides.pack_panel(product.b + (first + i) * K::panel_columns * sides.b_step, sides.b_stride, product.k,
                       columns_of(first + i), memory.data() + i * panel_size);
    }
    for (int64_t tile = 0; tile < product.tiles(); ++tile) {
      const int64_t row = tile * K::tile_rows;
      for (int64_t i = 0; i < count; ++i) {
        product_kernels().multiply(tile_at(product, tile), memory.data() + i * panel_size, product.steps(),
                                   product.c + (row * n + (first + i) * K::panel_columns) * bytes_per_value, n,
                                   std::min(K::tile_rows, product.m - row), columns_of(first + i));
      }
    }
  });
}

}  // namespace

void grouped_product(const at::Tensor& a, const GroupBegins& begin, const at::Tensor& b, bool transposed,
                     const at::Tensor& c) {
  const int64_t k = a.size(1), n = c.size(1);
  const bool ours = has_kernel(a, k);
  std::vector<Product> products;
  for (size_t group = 0; group + 1 < begin.size(); ++group) {
    const int64_t first = begin[group], count = begin[group + 1] - first, number = static_cast<int64_t>(group);
    if (count == 0) continue;
    if (ours && count >= least_rows) {
      products.push_back({row_at(a, first, k), row_at(b, number, k * n), row_at(c, first, n), count, k, 0, 0});
    } else {
      product_out(c.narrow(0, first, count), a.narrow(0, first, count), transposed ? b[number].t() : b[number]);
    }
  }
  const auto pack_panel = transposed ? product_kernels().pack_panel_transposed : product_kernels().pack_panel;
  const int64_t b_stride = transposed ? k : n, b_step = transposed ? k * bytes_per_value : bytes_per_value;
  if (!products.empty()) {
    multiply_all(products, n, {product_kernels().pack_tile, pack_panel, k, b_stride, k * bytes_per_value, b_step});
  }
}

void grouped_outer_product(const at::Tensor& a, const at::Tensor& b, const GroupBegins& begin, const at::Tensor& c) {
  const int64_t m = a.size(1), n = b.size(1);
  const bool ours = has_kernel(a, 0);
  std::vector<Product> products;
  for (size_t group = 0; group + 1 < begin.size(); ++group) {
    const int64_t first = begin[group], count = begin[group + 1] - first, number = static_cast<int64_t>(group);
    const at::Tensor product = c[number];
    if (count == 0) {
      product.zero_();
    } else if (ours) {
      products.push_back({row_at(a, first, m), row_at(b, first, n), bytes_of(product), m, count, 0, 0});
    } else {
      product_out(product, a.narrow(0, first, count).t(), b.narrow(0, first, count));
    }
  }
  if (products.empty()) return;
  const ProductKernels& kernels = product_kernels();
  multiply_all(products, n, {kernels.pack_tile_transposed, kernels.pack_panel, m, n, bytes_per_value, bytes_per_value});
}

}  // namespace xinslm::cpu
