// What LibTorch's MPS device is known to get wrong, to lack or to be slow at: that the model never asks for it.
#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <ATen/record_function.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <map>
#include <set>

#include "mps/check.h"
#include "unit/model/small_model.h"
#include "xinslm/core/error.h"
#include "xinslm/model/kv_cache.h"
#include "xinslm/ops/linear_cross_entropy.h"

using namespace xinslm;
using namespace xinslm::test;

namespace {

struct Call {
  std::string name;
  Tensors tensors;  ///< inputs
};

/// Looks at every operator of LibTorch that is called while this lives.
class WatchedOperators {
 public:
  using Look = std::function<void(const Call&)>;
  explicit WatchedOperators(Look look) {
    current = std::move(look);
    handle_ = at::addThreadLocalCallback(
        at::RecordFunctionCallback(&WatchedOperators::started).needsInputs(true).scopes({at::RecordScope::FUNCTION}));
  }
  ~WatchedOperators() { at::removeCallback(handle_); }

 private:
  static std::unique_ptr<at::ObserverContext> started(const at::RecordFunction& function) {
    Call call{function.name(), {}};
    for (const c10::IValue& input : function.inputs()) {
      if (input.isTensor() && input.toTensor().defined()) call.tensors.push_back(input.toTensor());
    }
    current(call);
    return nullptr;
  }

  inline static Look current;
  at::CallbackHandle handle_;
};

/// Every operator called by a training pass and by continuing a text, through the Metal code.
void watch_model(const WatchedOperators::Look& look) {
  ModelConfig config = small_config();
  config.qk_norm = true;
  Transformer model = small_model(config);
  model.require_grad(true);
  const at::Tensor tokens = some_tokens(2, 13), targets = tokens.roll(-1, 1).flatten();
  const SimulatedMetal metal;
  const WatchedOperators watch(look);
  ForwardOptions training;
  training.hidden_dropout = 0.1;
  const at::Tensor hidden = model.hidden_states(tokens, training);
  const at::Tensor loss = linear_cross_entropy(hidden.flatten(0, 1), model.head().weight, targets, 0, 0);
  loss.backward();
  const at::NoGradGuard no_gradients;
  KvCache cache(config, 1, at::kCPU, at::kFloat);
  ForwardOptions generating;
  generating.kv_cache = &cache;
  model.logits(model.hidden_states(tokens.narrow(0, 0, 1), generating));
  model.logits(model.hidden_states(tokens.narrow(0, 0, 1).narrow(1, 0, 1), generating));
}

bool is_product(const std::string& name) {
  static const std::set<std::string> products = {"aten::mm", "aten::bmm", "aten::addmm", "aten::baddbmm",
                                                 "aten::addmm_"};
  return products.contains(name);
}

bool is_dense(const at::Tensor& x) {
  return x.is_contiguous() || x.numel() == 0;
}

std::string described(const Call& call) {
  std::string text = call.name;
  for (const at::Tensor& x : call.tensors) {
    text += cat(" ", x.scalar_type(), x.sizes(), " strides ", x.strides());
  }
  return text;
}

}  // namespace

TEST(MpsTraps, NoProductHasATransposedLeftSide) {
  int64_t products = 0;
  watch_model([&](const Call& call) {
    if (!is_product(call.name)) return;
    ++products;
    const size_t left = call.name.find("add") == std::string::npos ? 0 : 1;
    EXPECT_TRUE(is_dense(call.tensors.at(left))) << described(call);
  });
  EXPECT_GT(products, 0);
}

TEST(MpsTraps, NoProductHasAWeightThatIsNeitherDenseNorTransposed) {
  watch_model([&](const Call& call) {
    EXPECT_NE(call.name, "aten::linear") << described(call);
    if (!is_product(call.name)) return;
    const at::Tensor& right = call.tensors.back();
    EXPECT_TRUE(is_dense(right) || is_dense(right.transpose(-1, -2))) << described(call);
  });
}

TEST(MpsTraps, NothingIsInFloat64) {
  watch_model([&](const Call& call) {
    for (const at::Tensor& x : call.tensors) {
      const bool is_number = x.dim() == 0;  // of the program's, which takes the type of the tensor beside it
      EXPECT_TRUE(is_number || x.scalar_type() != at::kDouble) << described(call);
    }
  });
}

TEST(MpsTraps, NoAutocastAndNoAttentionOfLibTorch) {
  watch_model([&](const Call& call) {
    EXPECT_EQ(call.name.find("scaled_dot_product"), std::string::npos) << described(call);
    EXPECT_FALSE(at::autocast::is_autocast_enabled(at::kCPU) || at::autocast::is_autocast_enabled(at::kMPS));
  });
}

TEST(MpsTraps, Int64NumbersAreIndicesOnly) {
  static const std::set<std::string> arithmetic = {"aten::sum",     "aten::cumsum",   "aten::prod",   "aten::sort",
                                                   "aten::mul",     "aten::div",      "aten::max",    "aten::min",
                                                   "aten::argsort", "aten::bincount", "aten::unique", "aten::nonzero"};
  watch_model([&](const Call& call) {
    if (!arithmetic.contains(call.name)) return;
    EXPECT_NE(call.tensors.at(0).scalar_type(), at::kLong) << described(call);
  });
}

/// Kernels count elements in 32 bits, and gradients come out wrong beyond; a tensor without memory stands for such a
/// model's.
TEST(MpsTraps, GradientsPast2To32ElementsAreRefused) {
  ModelConfig config = small_config();
  config.vocab_size = int64_t{1} << 21;
  config.hidden_size = int64_t{1} << 11;
  Transformer model(config, at::kMeta, at::kFloat);
  const char* name = "model.embed_tokens.weight";
  model.set_parameter(name, at::empty({config.vocab_size, config.hidden_size}, at::kMeta));
  try {
    model.require_grad(true);
    FAIL() << "was trusted with it";
  } catch (const Error& refused) {
    EXPECT_EQ(refused.kind(), ErrorKind::usage);
    EXPECT_NE(std::string(refused.what()).find(name), std::string::npos) << refused.what();
  }
}

/// LibTorch compiles a graph for each operator and shape it has not met, and its allocator keeps blocks of every size.
TEST(MpsTraps, ALongerTextBringsNoNewShapes) {
  const Transformer model = small_model();
  const at::NoGradGuard no_gradients;
  const SimulatedMetal metal;
  KvCache cache(model.config(), 1, at::kCPU, at::kFloat);
  ForwardOptions options;
  options.kv_cache = &cache;
  const at::Tensor tokens = some_tokens(1, 60);
  model.hidden_states(tokens.narrow(1, 0, 20), options);
  static const std::set<std::string> without_graph = {
      "aten::narrow",     "aten::slice",     "aten::select",  "aten::view",
      "aten::as_strided", "aten::transpose", "aten::t",       "aten::expand",
      "aten::reshape",    "aten::unflatten", "aten::flatten", "aten::_reshape_alias",
      "aten::unsqueeze",  "aten::squeeze",   "aten::to" /* what that computes is aten::_to_copy */};
  std::set<std::string> known;
  for (int64_t i = 20; i < 60; ++i) {
    std::set<std::string> fresh;
    const WatchedOperators watch([&](const Call& call) {
      if (without_graph.contains(call.name)) return;
      std::string shape = call.name;
      for (const at::Tensor& x : call.tensors) shape += cat(" ", x.sizes());
      if (known.insert(shape).second) fresh.insert(shape);
    });
    model.logits(model.hidden_states(tokens.narrow(1, i, 1), options));
    if (i < 40) continue;  // the windowed layers move their keys to the front now and then
    EXPECT_TRUE(fresh.empty()) << "token " << i << ": " << *fresh.begin();
  }
}
