#include "xinslm/config/settings.h"

#include <set>

#include "config/fields.h"
#include "config_test_util.h"
#include "xinslm/core/file.h"

namespace xinslm {
namespace {

Settings parse(const std::string& yaml, const SettingsOverrides& overrides = {}) {
  return parse_settings(yaml, "mine.yaml", overrides);
}

std::filesystem::path repository() {
  return XINSLM_SOURCE_DIR;
}

TEST(Settings, DefaultsAreValid) {
  EXPECT_NO_THROW(validate(default_settings()));
  EXPECT_EQ(dump_settings(parse("")), dump_settings(default_settings()));
}

TEST(Settings, DumpLoadsBackToTheSame) {
  Settings settings = default_settings();
  settings.data.train = {"a b.txt", "-", "x/*.jsonl", "null", "\"quoted\"\\", "tab\there", "ünïcode", ""};
  settings.data.line_end = " <eos> ";
  settings.data.separator = "";
  settings.training.learning_rate = 0.1 + 0.2;
  settings.generation.temperature = 1e-300;
  settings.training.seed = 9007199254740993;  // 2^53 + 1, which a double cannot hold
  settings.model.rope.truncate = true;
  settings.model.num_hidden_layers = 2;
  settings.model.layer_types = {"full_attention", "sliding_attention"};
  const std::string text = dump_settings(settings);
  const Settings back = parse(text);
  EXPECT_EQ(back.data.train, settings.data.train);
  EXPECT_EQ(back.training.learning_rate, settings.training.learning_rate);
  EXPECT_EQ(back.training.seed, settings.training.seed);
  EXPECT_EQ(dump_settings(back), text);
  EXPECT_EQ(dump_settings(parse(dump_settings(settings, true))), text);
}

TEST(Settings, EveryFieldSurvivesTheRoundTrip) {
  Settings settings;
  for (const Field& field : collect_fields(settings).fields) {
    EXPECT_NE(dump_settings(settings).find(name_of(field.key) + ": " + value_text(field)), std::string::npos)
        << field.key;
    EXPECT_NO_THROW(set_value(field, YAML::Load(value_text(field)), "")) << field.key;
  }
}

TEST(Settings, EveryKeyIsExplainedAndKnownOnce) {
  Settings settings;
  ModelChoice choice;
  const FieldCollector known = collect_fields(settings, &choice);
  std::set<std::string> names;
  for (const Field& field : known.fields) {
    EXPECT_TRUE(names.insert(field.key).second) << field.key;
    EXPECT_TRUE(field.older.empty() || names.insert(field.older).second) << field.older;
    EXPECT_FALSE(field.help.empty()) << field.key;
  }
}

TEST(Settings, EveryConfigurationInTheRepositoryLoads) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(repository() / "configs")) {
    SCOPED_TRACE(entry.path().string());
    Settings settings;
    ASSERT_NO_THROW(settings = load_settings(entry.path()));
    EXPECT_EQ(dump_settings(parse(dump_settings(settings))), dump_settings(settings));
    ++files;
  }
  EXPECT_GE(files, 8);
}

TEST(Settings, ReferencePageIsWhatTheProgramPrints) {
  EXPECT_EQ(read_file(repository() / "docs" / "configuration.md"), settings_reference())
      << "regenerate it: xinslm config keys > docs/configuration.md";
}

TEST(Settings, NamesOfTheOlderProjectAreRead) {
  const Settings settings = parse(R"(
model: {vocab_size: 1000, hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2,
        num_local_experts: 8, experts_per_token: 2, max_position_embeddings: 512, reasoning_effort: high,
        rope_theta: 10000}
training: {per_device_train_batch_size: 3, gradient_accumulation_steps: 2, learning_rate: 1e-3, num_train_epochs: 2,
           max_seq_length: 64, warmup_steps: 5, max_steps: 50, eval_steps: 10, save_steps: 20,
           lr_scheduler_type: linear, weight_decay: 0.01}
quantization: {enable_quantization: false, bits: 4, group_size: 32, quantize_moe_weights: true,
               quantize_attention: false}
mac_optimizations: {device: cpu, gradient_checkpointing: true, memory_efficient_attention: true, num_workers: 2,
                    empty_cache_interval: 0}
)");
  EXPECT_EQ(settings.model.num_experts, 8);
  EXPECT_EQ(settings.model.num_experts_per_tok, 4);
  EXPECT_EQ(settings.model.rope.theta, 10000);
  EXPECT_EQ(settings.training.per_device_train_batch_size, 3);
  EXPECT_EQ(settings.device.device, "cpu");
  EXPECT_TRUE(settings.training.gradient_checkpointing);
  EXPECT_EQ(settings.data.num_workers, 2);
}

TEST(Settings, OverridesWinOverTheFile) {
  const Settings settings =
      parse("training:\n  seed: 1\n  learning_rate: 0.5\n",
            {.assignments = {"training.seed=2", "training.seed=3", "data.train=*.txt", "data.validation=[a, b c]",
                             "data.separator=", "data.line_end= <eos> ", "mac_optimizations.num_workers=4",
                             "training.max_steps=2e3", "training.output_dir=a: b", "model.rope_theta=5"}});
  EXPECT_EQ(settings.training.seed, 3);
  EXPECT_EQ(settings.training.learning_rate, 0.5);
  EXPECT_EQ(settings.data.train, std::vector<std::string>{"*.txt"});
  EXPECT_EQ(settings.data.validation, (std::vector<std::string>{"a", "b c"}));
  EXPECT_EQ(settings.data.separator, "");
  EXPECT_EQ(settings.data.line_end, " <eos> ");
  EXPECT_EQ(settings.data.num_workers, 4);
  EXPECT_EQ(settings.training.max_steps, 2000);
  EXPECT_EQ(settings.training.output_dir, "a: b");
  EXPECT_EQ(settings.model.rope.theta, 5);
  EXPECT_EQ(settings.origins.at("training.seed"), "--set training.seed=3");
  EXPECT_EQ(settings.origins.at("training.learning_rate"), "mine.yaml:3");
}

TEST(Settings, OneTextIsAListOfOne) {
  EXPECT_EQ(parse("data:\n  train: story.txt\n").data.train, std::vector<std::string>{"story.txt"});
}

TEST(Settings, SectionWithoutKeysKeepsItsDefaults) {
  EXPECT_EQ(dump_settings(parse("training:\n  # seed: 1\nmodel:\n")), dump_settings(default_settings()));
}

TEST(Presets, AreValidAndListed) {
  for (const std::string& name : preset_names()) {
    SCOPED_TRACE(name);
    EXPECT_NO_THROW(preset_model(name));
  }
  EXPECT_THROW(preset_model("huge"), Error);
}

TEST(Presets, GptOssHasThePublishedSizes) {
  const ModelConfig model = preset_model("gpt-oss-20b");
  EXPECT_TRUE(model.is_gpt_oss());
  EXPECT_EQ(model.vocab_size, 201088);
  EXPECT_EQ(model.num_hidden_layers, 24);
  EXPECT_EQ(model.num_attention_heads * model.head_dim, 4096);
  EXPECT_EQ(model.num_key_value_heads * model.head_dim, 512);
  EXPECT_EQ(model.num_experts, 32);
  EXPECT_EQ(model.num_experts_per_tok, 4);
  EXPECT_FALSE(model.tie_word_embeddings);
  EXPECT_EQ(preset_model("gpt-oss-120b").num_hidden_layers, 36);
  EXPECT_EQ(preset_model("gpt-oss-120b").num_experts, 128);
}

TEST(Presets, KeysBesideThePresetReplaceItsValues) {
  const ModelConfig model = parse("model:\n  num_experts: 8\n  preset: light\n").model;
  EXPECT_EQ(model.num_experts, 8);
  EXPECT_EQ(model.hidden_size, 640);
}

TEST(Presets, VariantReplacesThePresetAndItsSizesInTheFile) {
  const std::string file = "model:\n  preset: quickstart\n  hidden_size: 192\n  vocab_size: 3000\n";
  const ModelConfig model = parse(file, {.model_variant = "light"}).model;
  EXPECT_EQ(model.hidden_size, 640);  // asked for on the command line, which wins over the file
  EXPECT_EQ(model.head_dim, 64);      // nothing of quickstart stays
  EXPECT_EQ(model.vocab_size, 3000);  // light does not speak of it
  EXPECT_EQ(parse(file, {.assignments = {"model.preset=light"}}).model.hidden_size, 640);
}

TEST(Presets, VariantsOfAFileComeBeforeThoseOfTheProgram) {
  const std::string file =
      "model:\n  vocab_size: 3000\nmodel_variants:\n  light: {hidden_size: 100}\n  deep: {preset: standard, "
      "num_hidden_layers: 30}\n";
  EXPECT_EQ(parse(file, {.model_variant = "light"}).model.hidden_size, 100);
  EXPECT_EQ(parse(file, {.model_variant = "light"}).model.vocab_size, 3000);
  EXPECT_EQ(parse(file, {.model_variant = "deep"}).model.num_hidden_layers, 30);
  EXPECT_EQ(parse(file, {.model_variant = "deep"}).model.hidden_size, 768);
  EXPECT_EQ(parse(file, {.model_variant = "performance"}).model.hidden_size, 896);
}

TEST(ReasoningEffort, SetsTheExpertsPerToken) {
  const std::filesystem::path file = repository() / "configs" / "training.yaml";
  const Settings low = load_settings(file, {.model_variant = "light", .reasoning_effort = "low"});
  EXPECT_EQ(low.model.hidden_size, 640);
  EXPECT_EQ(low.model.num_experts_per_tok, 1);
  EXPECT_EQ(low.model.router_softmax, "before");
  EXPECT_EQ(load_settings(file, {.model_variant = "light", .reasoning_effort = "high"}).model.num_experts_per_tok, 4);
  EXPECT_EQ(load_settings(file, {.model_variant = "light"}).model.num_experts_per_tok, 2);
}

TEST(ReasoningEffort, IsResolvedOnce) {
  const Settings high = parse("model:\n  reasoning_effort: high\n");
  EXPECT_EQ(parse(dump_settings(high)).model.num_experts_per_tok, high.model.num_experts_per_tok);
}

TEST(ReasoningEffort, LowRefusesASoftmaxAskedForAfterTheChoice) {
  EXPECT_NE(parse_failure("model:\n  reasoning_effort: low\n  router_softmax: after\n").find("mine.yaml:2: "),
            std::string::npos);
}

TEST(ModelConfig, ExpertsAtAnEffort) {
  ModelConfig model;
  model.num_experts = 3;
  model.num_experts_per_tok = 2;
  EXPECT_EQ(model.experts_at("low"), 1);
  EXPECT_EQ(model.experts_at("medium"), 2);
  EXPECT_EQ(model.experts_at("high"), 3);
  EXPECT_THROW(model.experts_at("extreme"), Error);
}

TEST(ModelConfig, WindowsAlternateUnlessNamed) {
  ModelConfig model;
  EXPECT_EQ(model.window(0), 128);
  EXPECT_EQ(model.window(1), 0);
  model.layer_types = {"full_attention", "sliding_attention"};
  EXPECT_EQ(model.window(0), 0);
  EXPECT_EQ(model.window(1), 128);
  model.layer_types.clear();
  model.sliding_window = 0;
  EXPECT_EQ(model.window(0), 0);
}

TEST(ModelConfig, EachDepartureFromGptOssIsSeen) {
  const std::vector<std::function<void(ModelConfig&)>> departures = {
      [](ModelConfig& m) { m.attention_sinks = false; }, [](ModelConfig& m) { m.router_bias = false; },
      [](ModelConfig& m) { m.expert_bias = false; },     [](ModelConfig& m) { m.swiglu_limit = 0; },
      [](ModelConfig& m) { m.qk_norm = true; },          [](ModelConfig& m) { m.logit_softcap = 15; },
      [](ModelConfig& m) { m.num_dense_layers = 1; },    [](ModelConfig& m) { m.router_softmax = "before"; }};
  EXPECT_TRUE(ModelConfig().is_gpt_oss());
  for (const auto& depart : departures) {
    ModelConfig model;
    depart(model);
    EXPECT_FALSE(model.is_gpt_oss());
  }
}

TEST(ModelConfig, ValidationNamesTheFolder) {
  ModelConfig model;
  model.num_key_value_heads = 5;
  try {
    validate(model, "runs/x/model/config.json");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find("runs/x/model/config.json: model.num_key_value_heads is 5"), 0u);
  }
}

}  // namespace
}  // namespace xinslm
