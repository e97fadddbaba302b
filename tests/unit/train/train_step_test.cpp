#include "train/train_step.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "unit/generate/byte_tokenizer.h"

namespace xinslm {
namespace {

Batch batch_of(const at::Tensor& text) {
  Batch batch;
  batch.tokens = text.narrow(1, 0, text.size(1) - 1).contiguous();
  batch.targets = text.narrow(1, 1, text.size(1) - 1).contiguous();
  batch.target_tokens = batch.target_bytes = batch.targets.numel();
  return batch;
}

/// The same with `count` empty places at the end of its only row.
Batch filled_up(Batch batch, int64_t count) {
  batch.real_places = at::arange(batch.tokens.numel());
  batch.tokens = at::cat({batch.tokens, at::zeros({1, count}, at::kLong)}, 1);
  batch.targets = at::cat({batch.targets, at::full({1, count}, -100, at::kLong)}, 1);
  return batch;
}

struct Computed {
  StepResult result;
  std::vector<at::Tensor> gradients;
};

Computed compute(const Transformer& model, const std::vector<Batch>& batches, bool checkpointing) {
  TrainingSettings settings;
  settings.gradient_checkpointing = checkpointing;
  settings.router_aux_loss_coef = 0.1;
  settings.router_z_loss_coef = 0.1;
  StepPlan plan;
  plan.experts = model.config().num_experts_per_tok;
  Gradients gradients(model, static_cast<int64_t>(batches.size()));
  Computed computed;
  computed.result = compute_gradients(model, batches, settings, plan, gradients);
  for (const at::Tensor& gradient : gradients.tensors()) {
    computed.gradients.push_back(gradient.defined() ? gradient.clone() : gradient);
  }
  return computed;
}

void expect_same(const Computed& found, const Computed& expected) {
  EXPECT_NEAR(found.result.loss_sum, expected.result.loss_sum, 1e-5 * expected.result.loss_sum);
  EXPECT_NEAR(found.result.balance_loss, expected.result.balance_loss, 1e-5);
  EXPECT_NEAR(found.result.z_loss, expected.result.z_loss, 1e-5);
  EXPECT_EQ(found.result.tokens, expected.result.tokens);
  EXPECT_TRUE(at::equal(found.result.expert_counts, expected.result.expert_counts));
  EXPECT_TRUE(at::allclose(found.result.router_entropy, expected.result.router_entropy));
  for (size_t i = 0; i < found.gradients.size(); ++i) {
    if (!expected.gradients[i].defined()) continue;
    const double size = expected.gradients[i].abs().max().item<double>();
    EXPECT_LT((found.gradients[i] - expected.gradients[i]).abs().max().item<double>(), 1e-4 * size + 1e-6) << i;
  }
}

class TrainStep : public ::testing::Test {
 protected:
  void SetUp() override { model_.require_grad(true); }
  Transformer model_{tiny_config(), at::kCPU, at::kFloat, 3};
};

}  // namespace

TEST_F(TrainStep, EmptyPlacesCountNeitherInLossesNorInTheExpertsLoad) {
  const Batch dense = batch_of(at::arange(40).mul(7).remainder(200).view({1, 40}));
  for (const bool checkpointing : {false, true}) {
    expect_same(compute(model_, {filled_up(dense, 25)}, checkpointing), compute(model_, {dense}, checkpointing));
  }
}

TEST_F(TrainStep, BatchesWeighByTheirTokens) {
  const Batch first = batch_of(at::arange(33).mul(7).remainder(200).view({1, 33}));
  const Batch second = batch_of(at::arange(9).mul(3).remainder(200).view({1, 9}));
  const auto full = compute(model_, {first, second}, false);
  expect_same(compute(model_, {first, filled_up(second, 24)}, false), full);
  EXPECT_EQ(full.result.tokens, 40);
  EXPECT_EQ(full.result.expert_counts[0].sum().item<double>(),
            40.0 * static_cast<double>(model_.config().num_experts_per_tok));
  // The mean over all tokens, not the mean of the batches' means.
  const double z_first = compute(model_, {first}, false).result.z_loss;
  const double z_second = compute(model_, {second}, false).result.z_loss;
  EXPECT_NEAR(full.result.z_loss, (32 * z_first + 8 * z_second) / 40, 1e-5);
}

}  // namespace xinslm
