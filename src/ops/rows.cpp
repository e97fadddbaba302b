#include "xinslm/ops/rows.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cstring>

#include "ops/checks.h"
#include "ops/cpu/dispatch.h"
#include "ops/cpu/parallel.h"

namespace xinslm {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

void check(const at::Tensor& x, const at::Tensor& places, int64_t rows) {
  require(x.dim() == 2 && places.dim() == 1 && places.scalar_type() == at::kLong, "rows: x is ", x.sizes(), ", places ",
          places.scalar_type(), " ", places.sizes(), "; expected [N, W] and int64 [n]");
  if (!places.is_cpu()) return;  // reading them back would stall the device
  const int64_t* place = places.const_data_ptr<int64_t>();
  for (int64_t i = 0, next = 0; i < places.numel(); next = place[i++] + 1) {
    require(place[i] >= next && place[i] < rows, "rows: place ", i, " is ", place[i], ", expected one from ", next,
            " to below ", rows);
  }
}

/// Calls copy(i, place of row i, bytes of a row) for all rows, on several threads.
template <class Copy>
void for_places(const at::Tensor& x, const at::Tensor& places, const Copy& copy) {
  const int64_t width = x.size(1), count = places.numel(), bytes = width * x.element_size();
  const int64_t* place = places.const_data_ptr<int64_t>();
  cpu::for_parts(count, cpu::count_parts(count, cpu::rows_per_thread(width)), [&](int64_t, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) copy(i * bytes, place[i] * bytes, bytes);
  });
}

at::Tensor taken(const at::Tensor& x, const at::Tensor& places) {
  if (!x.is_cpu()) return x.index({places});
  const at::Tensor from = x.contiguous(), to = at::empty({places.numel(), x.size(1)}, x.options());
  for_places(from, places,
             [source = cpu::bytes_of(from), target = cpu::bytes_of(to)](int64_t row, int64_t place, int64_t bytes) {
               std::memcpy(target + row, source + place, bytes);
             });
  return to;
}

at::Tensor spread_out(const at::Tensor& x, const at::Tensor& places, int64_t rows) {
  const at::Tensor to = at::zeros({rows, x.size(1)}, x.options());
  if (!x.is_cpu()) {
    at::Tensor(to).index_put_({places}, x);
    return to;
  }
  const at::Tensor from = x.contiguous();
  for_places(from, places,
             [source = cpu::bytes_of(from), target = cpu::bytes_of(to)](int64_t row, int64_t place, int64_t bytes) {
               std::memcpy(target + place, source + row, bytes);
             });
  return to;
}

struct TakeFunction : torch::autograd::Function<TakeFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& places) {
    context->save_for_backward({places});
    context->saved_data["rows"] = x.size(0);
    return taken(x, places);
  }
  static variable_list backward(AutogradContext* context, variable_list grads) {
    return {spread_out(grads[0], context->get_saved_variables()[0], context->saved_data["rows"].toInt()), {}};
  }
};

struct SpreadFunction : torch::autograd::Function<SpreadFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& places, int64_t rows) {
    context->save_for_backward({places});
    return spread_out(x, places, rows);
  }
  static variable_list backward(AutogradContext* context, variable_list grads) {
    return {taken(grads[0], context->get_saved_variables()[0]), {}, {}};
  }
};

}  // namespace

at::Tensor take_rows(const at::Tensor& x, const at::Tensor& places) {
  check(x, places, x.size(0));
  return at::GradMode::is_enabled() && x.requires_grad() ? TakeFunction::apply(x, places) : taken(x, places);
}

at::Tensor spread_rows(const at::Tensor& x, const at::Tensor& places, int64_t rows) {
  check(x, places, rows);
  require(x.size(0) == places.size(0), "rows: ", x.size(0), " rows for ", places.size(0), " places");
  return at::GradMode::is_enabled() && x.requires_grad() ? SpreadFunction::apply(x, places, rows)
                                                         : spread_out(x, places, rows);
}

}  // namespace xinslm
