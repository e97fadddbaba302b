#include "config_test_util.h"

namespace xinslm {
namespace {

TEST(ConfigErrors, UnknownKeyNamesLineAndNearestKey) {
  EXPECT_EQ(parse_failure("model:\n  hidden_sise: 512\n"),
            "mine.yaml:2: unknown key model.hidden_sise (did you mean model.hidden_size?)");
  EXPECT_EQ(parse_failure("trainig:\n  seed: 1\n"), "mine.yaml:1: unknown key trainig (did you mean training?)");
  EXPECT_EQ(parse_failure("model:\n  rope:\n    thta: 1\n"),
            "mine.yaml:3: unknown key model.rope.thta (did you mean model.rope.theta?)");
}

TEST(ConfigErrors, UnknownKeyNamesItsNamesakeInAnotherSection) {
  EXPECT_EQ(parse_failure("training:\n  hidden_size: 512\n"),
            "mine.yaml:2: unknown key training.hidden_size (did you mean model.hidden_size?)");
}

TEST(ConfigErrors, UnknownKeyFarFromAllListsTheSection) {
  EXPECT_EQ(parse_failure("generation:\n  xyzzyxyzzy: 1\n"),
            "mine.yaml:2: unknown key generation.xyzzyxyzzy; known in generation: temperature, top_k, top_p, min_p, "
            "repetition_penalty, max_tokens and seed");
}

TEST(ConfigErrors, EmptyAndNonWordKeysAreRefused) {
  EXPECT_NE(parse_failure("\"\": 1\n").find("mine.yaml:1: unknown key"), std::string::npos);
  EXPECT_EQ(parse_failure("model:\n  [a, b]: 1\n"), "mine.yaml:2: a key in model is not a word");
}

TEST(ConfigErrors, WrongTypesSayWhatWasFoundAndExpected) {
  EXPECT_EQ(parse_failure("training:\n  max_steps: many\n"),
            "mine.yaml:2: training.max_steps is \"many\", expected a whole number from 0 to 1000000000");
  EXPECT_EQ(parse_failure("training:\n  max_steps: 1.5\n"),
            "mine.yaml:2: training.max_steps is \"1.5\", expected a whole number from 0 to 1000000000");
  EXPECT_EQ(parse_failure("training:\n  learning_rate: [1]\n"),
            "mine.yaml:2: training.learning_rate is a list, expected a number above 0, at most 1e+30");
  EXPECT_EQ(parse_failure("training:\n  learning_rate:\n"),
            "mine.yaml:2: training.learning_rate is empty, expected a number above 0, at most 1e+30");
  EXPECT_EQ(parse_failure("data:\n  shuffle: perhaps\n"),
            "mine.yaml:2: data.shuffle is \"perhaps\", expected true or false");
  EXPECT_EQ(parse_failure("tokenizer:\n  path: {a: 1}\n"), "mine.yaml:2: tokenizer.path is a mapping, expected text");
  EXPECT_EQ(parse_failure("data:\n  train: [a, [b]]\n"),
            "mine.yaml:2: data.train is a list with a list in it, expected a list of texts");
  EXPECT_EQ(parse_failure("training: 5\n"), "mine.yaml:1: training is a section, expected keys with values below it");
}

TEST(ConfigErrors, ValuesOutOfRangeSayTheRange) {
  EXPECT_EQ(parse_failure("training:\n  adam_beta1: 1\n"),
            "mine.yaml:2: training.adam_beta1 is 1, expected a number from 0 to below 1");
  EXPECT_EQ(parse_failure("training:\n  learning_rate: 0\n"),
            "mine.yaml:2: training.learning_rate is 0, expected a number above 0, at most 1e+30");
  EXPECT_EQ(parse_failure("model:\n  hidden_size: 1e12\n"),
            "mine.yaml:2: model.hidden_size is 1000000000000, expected a whole number from 1 to 65536");
  EXPECT_NE(parse_failure("training:\n  learning_rate: .inf\n"), "no error");
  EXPECT_NE(parse_failure("training:\n  learning_rate: .nan\n"), "no error");
  EXPECT_NE(parse_failure("training:\n  learning_rate: 1e999\n"), "no error");
  EXPECT_NE(parse_failure("training:\n  seed: 99999999999999999999\n"), "no error");
}

TEST(ConfigErrors, WordsOutsideTheChoicesNameTheNearest) {
  EXPECT_EQ(parse_failure("training:\n  lr_scheduler_type: cosin\n"),
            "mine.yaml:2: training.lr_scheduler_type is \"cosin\", expected cosine, linear, constant or wsd (did you "
            "mean cosine?)");
  EXPECT_EQ(parse_failure("model:\n  num_hidden_layers: 1\n  layer_types: [full]\n"),
            "mine.yaml:3: model.layer_types is \"full\", expected a list of sliding_attention and full_attention");
}

TEST(ConfigErrors, KeySetTwiceNamesBothLines) {
  EXPECT_EQ(parse_failure("training:\n  seed: 1\n  seed: 2\n"),
            "mine.yaml:3: training.seed is set a second time; the first is at mine.yaml:2");
  EXPECT_EQ(parse_failure("data:\n  num_workers: 1\nmac_optimizations:\n  num_workers: 2\n"),
            "mine.yaml:4: data.num_workers is set a second time; the first is at mine.yaml:2");
}

TEST(ConfigErrors, MalformedYamlNamesTheLine) {
  EXPECT_EQ(parse_failure("model:\n  hidden_size: [1, 2\n").find("mine.yaml:3: not valid YAML: "), 0u);
  EXPECT_EQ(parse_failure("model:\n\thidden_size: 1\n").find("mine.yaml:2: not valid YAML: "), 0u);
  EXPECT_EQ(parse_failure("- a\n- b\n"), "mine.yaml:1: expected sections like \"model:\" with keys below them");
  EXPECT_EQ(parse_failure("just words\n"), "mine.yaml:1: expected sections like \"model:\" with keys below them");
  EXPECT_EQ(parse_failure("model:\n---\nmodel:\n"), "mine.yaml: holds 2 YAML documents, expected one");
  EXPECT_NE(parse_failure(std::string("\0\x01\xff{[", 5)), "no error");
  EXPECT_NE(parse_failure(std::string(100000, '[')), "no error");
}

TEST(ConfigErrors, MissingFileIsADataErrorThatNamesIt) {
  try {
    load_settings("no_such_folder/none.yaml");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::data);
    EXPECT_NE(std::string(error.what()).find("no_such_folder/none.yaml"), std::string::npos);
  }
}

TEST(ConfigErrors, OverridesNameTheFlag) {
  EXPECT_EQ(override_failure("training.seed=x"),
            "--set training.seed=x: training.seed is \"x\", expected a whole number of at least 0");
  EXPECT_EQ(override_failure("training.sead=1"),
            "--set training.sead=1: unknown key training.sead (did you mean training.seed?)");
  EXPECT_EQ(override_failure("training.seed"), "--set training.seed: expected section.key=value");
  EXPECT_EQ(override_failure("=1"), "--set =1: expected section.key=value");
  EXPECT_EQ(override_failure("model.rope=1"),
            "--set model.rope=1: model.rope is a section; set one of its keys, as in model.rope.key=value");
  EXPECT_EQ(override_failure("seed=1"), "--set seed=1: unknown key seed (did you mean training.seed?)");
  EXPECT_EQ(override_failure("data.train=[a").find("--set data.train=[a: not valid YAML: "), 0u);
}

TEST(ConfigErrors, HeadsThatDoNotDivide) {
  EXPECT_EQ(parse_failure("model:\n  num_attention_heads: 12\n  num_key_value_heads: 5\n"),
            "mine.yaml:3: model.num_key_value_heads is 5, which does not divide num_attention_heads 12; use 1, 2, 3, "
            "4, 6 or 12");
}

TEST(ConfigErrors, MoreExpertsChosenThanThereAre) {
  EXPECT_EQ(parse_failure("model:\n  num_experts: 4\n  num_experts_per_tok: 5\n"),
            "mine.yaml:3: model.num_experts_per_tok is 5, more than num_experts 4; use 1 to 4");
}

TEST(ConfigErrors, SequenceBeyondTheModel) {
  EXPECT_EQ(parse_failure("training:\n  max_seq_length: 8192\n"),
            "mine.yaml:2: training.max_seq_length is 8192, more than model.max_position_embeddings 4096");
  EXPECT_EQ(parse_failure("model:\n  max_position_embeddings: 256\n"),
            "mine.yaml: training.max_seq_length is 512 (the default), more than model.max_position_embeddings 256");
}

TEST(ConfigErrors, OddHeadWidth) {
  EXPECT_NE(
      parse_failure("model:\n  head_dim: 33\n").find("mine.yaml:2: model.head_dim is 33, expected an even number"),
      std::string::npos);
}

TEST(ConfigErrors, LayersThatDoNotAddUp) {
  EXPECT_EQ(parse_failure("model:\n  num_hidden_layers: 2\n  layer_types: [full_attention]\n"),
            "mine.yaml:3: model.layer_types names 1 layers, expected num_hidden_layers 2");
  EXPECT_EQ(parse_failure("model:\n  num_hidden_layers: 2\n  num_dense_layers: 3\n"),
            "mine.yaml:3: model.num_dense_layers is 3, more than num_hidden_layers 2");
  EXPECT_EQ(parse_failure("model:\n  num_hidden_layers: 1\n  layer_types: [sliding_attention]\n  sliding_window: 0\n")
                .find("mine.yaml:4: model.sliding_window is 0, but layer_types names sliding_attention"),
            0u);
}

TEST(ConfigErrors, RopeBoundsInTheWrongOrder) {
  EXPECT_EQ(parse_failure("model:\n  rope: {beta_fast: 1, beta_slow: 2}\n"),
            "mine.yaml:2: model.rope.beta_fast is 1, expected more than beta_slow 2");
}

TEST(ConfigErrors, TokenIdsBeyondTheVocabulary) {
  EXPECT_EQ(parse_failure("model:\n  eos_token_id: 50257\n"),
            "mine.yaml:2: model.eos_token_id is 50257, expected less than vocab_size 50257");
}

TEST(ConfigErrors, OneExpertNeedsTheSoftmaxBeforeTheChoice) {
  EXPECT_NE(parse_failure("model:\n  num_experts_per_tok: 1\n").find("set model.router_softmax: before"),
            std::string::npos);
  EXPECT_EQ(parse_failure("model:\n  num_experts_per_tok: 1\n  num_experts: 1\n"), "no error");
}

TEST(ConfigErrors, TokenizerLargerThanTheModel) {
  EXPECT_EQ(parse_failure("model:\n  vocab_size: 1000\ntokenizer:\n  vocab_size: 2000\n"),
            "mine.yaml:4: tokenizer.vocab_size is 2000, more than model.vocab_size 1000");
}

TEST(ConfigErrors, RunsWithoutDataOrEnd) {
  EXPECT_NE(parse_failure("data:\n  train: []\n").find("mine.yaml:2: data.train is empty"), std::string::npos);
  EXPECT_NE(parse_failure("data:\n  train: \"-\"\n  validation: \"-\"\n").find("only once"), std::string::npos);
  EXPECT_NE(parse_failure("training:\n  num_train_epochs: 0\n").find("say when the run ends"), std::string::npos);
  EXPECT_NE(parse_failure("data:\n  validation_share: 0\ntraining:\n  early_stopping_patience: 3\n")
                .find("nothing is held out"),
            std::string::npos);
}

TEST(ConfigErrors, WhatThisVersionCannotDoIsRefused) {
  const std::string enabled = "quantization:\n  enable_quantization: true\n  ";
  EXPECT_EQ(parse_failure(enabled + "quantize_attention: true\n"), "no error");
  EXPECT_EQ(
      parse_failure(enabled + "bits: 8\n"),
      "mine.yaml:3: quantization.bits is 8, expected 4: MXFP4 is the format of the experts' weights, and there is "
      "no other");
  EXPECT_EQ(parse_failure(enabled + "group_size: 48\n"),
            "mine.yaml:3: quantization.group_size is 48, expected 32, 64 or 128: a block of MXFP4 has 32 weights, and "
            "only neighbouring blocks can share a scale");
  EXPECT_NE(parse_failure(enabled + "quantize_moe_weights: false\n").find("the experts are what"), std::string::npos);
  EXPECT_NE(parse_failure("training:\n  qat_start: 0.5\n").find("nothing will be quantised"), std::string::npos);
  EXPECT_EQ(parse_failure("quantization:\n  enable_quantization: false\n  bits: 8\n"), "no error");
  EXPECT_NE(parse_failure("mac_optimizations:\n  memory_efficient_attention: false\n")
                .find("mine.yaml:2: device.memory_efficient_attention is false, expected true"),
            std::string::npos);
  EXPECT_NE(parse_failure("mac_optimizations:\n  device: cpu\n  empty_cache_interval: 10\n")
                .find("mine.yaml:3: device.empty_cache_interval is 10, expected 0"),
            std::string::npos);
  EXPECT_EQ(parse_failure("mac_optimizations:\n  device: mps\n  empty_cache_interval: 10\n"), "no error");
}

TEST(ConfigErrors, UnknownModelsNameTheNearest) {
  EXPECT_EQ(
      parse_failure("model:\n  preset: lihgt\n").find("mine.yaml:2: no model preset \"lihgt\" (did you mean light?)"),
      0u);
  EXPECT_EQ(parse_failure("", {.model_variant = "standart"})
                .find("--model-variant: no model variant \"standart\" (did you mean standard?)"),
            0u);
  EXPECT_EQ(parse_failure("", {.model_variant = "light", .assignments = {"model.preset=standard"}}),
            "--model-variant light and --set model.preset=standard ask for different models");
  EXPECT_NE(parse_failure("", {.reasoning_effort = "hihg"}).find("did you mean high?"), std::string::npos);
}

TEST(ConfigErrors, EveryVariantOfAFileIsChecked) {
  EXPECT_EQ(parse_failure("model_variants:\n  small:\n    hiden_size: 64\n"),
            "mine.yaml:3: unknown key model.hiden_size (did you mean model.hidden_size?)");
  EXPECT_EQ(parse_failure("model_variants: 3\n"),
            "mine.yaml:1: model_variants expects names with model keys below them");
  EXPECT_EQ(parse_failure("model_variants:\n  small: 3\n"),
            "mine.yaml:2: model_variants.small expects model keys below it");
  EXPECT_EQ(parse_failure("model_variants:\n  [a]: {}\n"), "mine.yaml:2: a name in model_variants is not a word");
  EXPECT_EQ(parse_failure("model_variants:\n  a: {}\nmodel_variants:\n  b: {}\n"),
            "mine.yaml:3: model_variants is set a second time");
}

}  // namespace
}  // namespace xinslm
