#include "xinslm/train/optimizer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "unit/generate/byte_tokenizer.h"
#include "xinslm/core/error.h"
#include "xinslm/train/ema.h"
#include "xinslm/train/gradients.h"
#include "xinslm/train/muon.h"

namespace xinslm {
namespace {

Transformer bfloat16_copy(const Transformer& masters) {
  Transformer model = masters.converted(at::kCPU, at::kBFloat16);
  model.require_grad(true);
  return model;
}

std::vector<at::Tensor> filled(const Transformer& model, double value) {
  std::vector<at::Tensor> tensors;
  for (const auto& [name, parameter] : model.parameters()) tensors.push_back(at::full_like(parameter.detach(), value));
  return tensors;
}

std::vector<at::Tensor> copies(const Transformer& model) {
  std::vector<at::Tensor> tensors;
  for (const auto& [name, parameter] : model.parameters()) tensors.push_back(parameter.detach().clone());
  return tensors;
}

}  // namespace

TEST(Optimizer, DecaysMatricesAndTablesButNotGainsBiasesAndSinks) {
  const Transformer masters = tiny_model();
  TrainingSettings settings;
  settings.learning_rate = 0.1;
  settings.weight_decay = 0.5;
  const auto before = copies(masters);
  Optimizer optimizer(masters, masters, settings);
  optimizer.step(filled(masters, 0), 1, 1);
  for (size_t i = 0; i < before.size(); ++i) {
    const auto& [name, value] = masters.parameters()[i];
    const double kept = masters.table()[i].group() == OptimizerGroup::vector ? 1 : 0.95;
    EXPECT_TRUE(at::allclose(value, before[i] * kept, 1e-5, 1e-7)) << name;
  }
}

TEST(Optimizer, RefreshesTheModelThatComputesInBfloat16) {
  for (const std::string kind : {"adamw", "muon"}) {
    const Transformer masters = tiny_model();
    const Transformer model = bfloat16_copy(masters);
    TrainingSettings settings;
    settings.optimizer = kind;
    Optimizer optimizer(masters, model, settings);
    optimizer.step(filled(model, 0.1), 1, 1);
    for (size_t i = 0; i < masters.parameters().size(); ++i) {
      const auto& [name, computed] = model.parameters()[i];
      EXPECT_TRUE(at::equal(computed.detach(), masters.parameters()[i].second.detach().to(computed.scalar_type())))
          << kind << " " << name;
    }
  }
}

TEST(Optimizer, GoesOnFromItsStateToTheBit) {
  for (const std::string kind : {"adamw", "muon"}) {
    const Transformer straight = tiny_model(), resumed = tiny_model();
    TrainingSettings settings;
    settings.optimizer = kind;
    Optimizer first(straight, straight, settings), second(resumed, resumed, settings);
    first.step(filled(straight, 0.1), 1, 1);
    second.step(filled(resumed, 0.1), 1, 1);
    Optimizer third(resumed, resumed, settings);
    third.restore(StateTensors(second.state(), "state"), second.updates());
    first.step(filled(straight, -0.3), 0.5, 2);
    third.step(filled(resumed, -0.3), 0.5, 2);
    for (size_t i = 0; i < straight.parameters().size(); ++i) {
      EXPECT_TRUE(at::equal(straight.parameters()[i].second, resumed.parameters()[i].second)) << kind;
    }
  }
}

TEST(Optimizer, KeepsNothingForWhatIsNotTrained) {
  for (const std::string kind : {"adamw", "muon"}) {
    Transformer masters = tiny_model();
    masters.train_only([](const Parameter& parameter) { return parameter.role == ParameterRole::attention; });
    const auto before = copies(masters);
    TrainingSettings settings;
    settings.optimizer = kind;
    Optimizer optimizer(masters, bfloat16_copy(masters), settings);
    optimizer.step(filled(masters, 0.1), 1, 1);
    Ema ema(masters, 0.9);
    const size_t matrices = 8, moments = kind == "muon" ? 1 : 2;  // of four in each of two layers
    EXPECT_EQ(optimizer.state().size(), matrices * moments);
    EXPECT_EQ(ema.state().size(), matrices);
    for (size_t i = 0; i < before.size(); ++i) {
      const auto& [name, value] = masters.parameters()[i];
      EXPECT_EQ(at::equal(value, before[i]), !masters.table()[i].trained) << name;
      EXPECT_TRUE(at::equal(ema.model(at::kFloat).parameters()[i].second, value)) << name;
    }
  }
}

TEST(Optimizer, RefusesAStateOfAnotherModel) {
  const Transformer masters = tiny_model();
  Optimizer optimizer(masters, masters, TrainingSettings{});
  EXPECT_THROW(optimizer.restore(StateTensors({}, "state"), 1), Error);
}

TEST(Muon, MakesSingularValuesNearOne) {
  at::manual_seed(1);
  for (const auto& shape : {std::vector<int64_t>{24, 40}, {40, 24}, {3, 16, 32}}) {
    const at::Tensor values = at::linalg_svdvals(orthogonalize(at::randn(shape)));
    EXPECT_GT(values.min().item<double>(), 0.3);
    EXPECT_LT(values.max().item<double>(), 1.4);
  }
}

TEST(Muon, TreatsEachExpertAsAMatrixOfItsOwn) {
  at::manual_seed(2);
  const at::Tensor experts = at::randn({3, 16, 32});
  const at::Tensor together = orthogonalize(experts);
  for (int64_t e = 0; e < 3; ++e) EXPECT_TRUE(at::allclose(together[e], orthogonalize(experts[e]), 1e-4, 1e-5));
}

TEST(Muon, StepIsDecayThenTheOrthogonalUpdateScaledByShape) {
  at::manual_seed(3);
  const at::Tensor gradient = at::randn({32, 8}), master = at::ones({32, 8}), momentum = at::zeros({32, 8});
  const MuonStep step{
      .learning_rate = 0.1, .momentum = 0.9, .weight_decay = 0.5, .gradient_scale = 2, .type = at::kFloat};
  muon_step(master, gradient, momentum, {}, step);
  EXPECT_TRUE(at::allclose(momentum, gradient * 2));
  const at::Tensor expected = at::full({32, 8}, 0.95) - 0.1 * 2 * orthogonalize(gradient);
  EXPECT_TRUE(at::allclose(master, expected, 1e-4, 1e-5));
}

TEST(Gradients, SumsBfloat16InFloat32OverSeveralBatches) {
  const Transformer model = bfloat16_copy(tiny_model());
  Gradients gradients(model, 3);
  for (const double value : {256.0, 1.0, 1.0}) {  // 256 + 1 is 256 in bfloat16
    for (const auto& [name, parameter] : model.parameters()) {
      at::Tensor leaf = parameter;
      leaf.mutable_grad() = at::full_like(parameter.detach(), value);
    }
    gradients.collect();
  }
  for (const at::Tensor& sum : gradients.tensors()) EXPECT_TRUE(at::equal(sum, at::full_like(sum, 258.0)));
  gradients.release();
  EXPECT_FALSE(gradients.tensors()[0].defined());
}

TEST(Gradients, NormIsThatOfAllTogetherAndNotFiniteWhenOneIsNot) {
  const Transformer model = tiny_model();
  Gradients gradients(model, 1);
  at::Tensor first = model.parameters()[0].second, last = model.parameters().back().second;
  first.mutable_grad() = at::zeros_like(first);
  first.mutable_grad().view(-1)[0] = 3;
  last.mutable_grad() = at::zeros_like(last);
  last.mutable_grad().view(-1)[0] = 4;
  gradients.collect();
  EXPECT_DOUBLE_EQ(gradients.norm(), 5);
  gradients.tensors()[0].view(-1)[1] = std::numeric_limits<float>::infinity();
  EXPECT_FALSE(std::isfinite(gradients.norm()));
}

TEST(Ema, ForgetsTheStartQuicklyAndThenMovesSlowly) {
  const Transformer masters = tiny_model();
  Ema ema(masters, 0.999);
  const at::Tensor start = masters.parameters()[0].second.clone();
  masters.parameters()[0].second.add_(11);
  ema.update(1);  // decay 2 / 11
  EXPECT_TRUE(at::allclose(ema.state()[0].second, start + 9, 1e-5, 1e-5));
  EXPECT_TRUE(at::equal(ema.model(at::kFloat).parameters()[0].second, ema.state()[0].second));
}

}  // namespace xinslm
