#include "unit/format/temporary_folder.h"
#include "xinslm/core/json.h"
#include "xinslm/format/model_folder.h"

using namespace xinslm;

namespace {

using ModelConfigFile = TemporaryFolder;

// As openai/gpt-oss-20b has it, without the quantisation.
const char* const gpt_oss_20b = R"({
  "architectures": ["GptOssForCausalLM"], "attention_bias": true, "attention_dropout": 0.0, "eos_token_id": 200002,
  "experts_per_token": 4, "head_dim": 64, "hidden_act": "silu", "hidden_size": 2880, "initial_context_length": 4096,
  "initializer_range": 0.02, "intermediate_size": 2880,
  "layer_types": ["sliding_attention", "full_attention"], "max_position_embeddings": 131072,
  "model_type": "gpt_oss", "num_attention_heads": 64, "num_experts_per_tok": 4, "num_hidden_layers": 2,
  "num_key_value_heads": 8, "num_local_experts": 32, "output_router_logits": false, "pad_token_id": 199999,
  "rms_norm_eps": 1e-05,
  "rope_scaling": {"beta_fast": 32.0, "beta_slow": 1.0, "factor": 32.0, "original_max_position_embeddings": 4096,
                   "rope_type": "yarn", "truncate": false},
  "rope_theta": 150000, "router_aux_loss_coef": 0.9, "sliding_window": 128, "swiglu_limit": 7.0,
  "tie_word_embeddings": false, "transformers_version": "4.55.0", "use_cache": true, "vocab_size": 201088})";

class ReadModelConfig : public TemporaryFolder {
 protected:
  ModelConfig read(const Json& json) const {
    put("config.json", json.dump());
    return read_model_config(folder_);
  }
  std::string problem(const std::function<void(Json&)>& change) const {
    Json json = Json::parse(gpt_oss_20b);
    change(json);
    const std::string message = data_error_of([&] { read(json); });
    EXPECT_TRUE(contains(message, "config.json")) << message;
    return message;
  }
};

TEST_F(ReadModelConfig, UnderstandsTheOriginalRelease) {
  const ModelConfig config = read(Json::parse(gpt_oss_20b));
  EXPECT_EQ(config.num_experts, 32);
  EXPECT_EQ(config.num_experts_per_tok, 4);
  EXPECT_EQ(config.rope.type, "yarn");
  EXPECT_EQ(config.rope.theta, 150000.0);
  EXPECT_FALSE(config.rope.truncate);
  EXPECT_EQ(config.eos_token_id, 200002);
  EXPECT_EQ(config.bos_token_id, -1);
  EXPECT_EQ(config.window(0), 128);
  EXPECT_EQ(config.window(1), 0);
  EXPECT_TRUE(config.is_gpt_oss());
}

TEST_F(ReadModelConfig, UnderstandsRopeParametersOfTransformers5) {
  Json json = Json::parse(gpt_oss_20b);
  json["rope_parameters"] = json["rope_scaling"];
  json["rope_parameters"]["rope_theta"] = 5000.0;
  json.erase("rope_scaling");
  json.erase("rope_theta");
  EXPECT_EQ(read(json).rope.theta, 5000.0);
  json["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 10000.0}};
  EXPECT_EQ(read(json).rope.type, "default");
}

TEST_F(ReadModelConfig, YarnWithoutTheWordTruncateRoundsAsTransformersDoes) {
  Json json = Json::parse(gpt_oss_20b);
  json["rope_scaling"].erase("truncate");
  EXPECT_TRUE(read(json).rope.truncate);
}

TEST_F(ReadModelConfig, TakesAllOfSeveralEndTokens) {
  Json json = Json::parse(gpt_oss_20b);
  json["eos_token_id"] = {200012, 200002};
  EXPECT_EQ(read(json).eos_token_ids(), (std::vector<int64_t>{200012, 200002}));
  EXPECT_TRUE(contains(problem([](Json& j) { j["eos_token_id"] = {200012, 999999}; }), "eos_token_id is 999999"));
  EXPECT_TRUE(contains(problem([](Json& j) { j["bos_token_id"] = {1, 2}; }), "expected one token id"));
}

TEST_F(ReadModelConfig, RefusesWhatItCannotHonour) {
  EXPECT_TRUE(contains(problem([](Json& j) { j["quantization_config"] = {{"quant_method", "fp8"}}; }), "mxfp4"));
  EXPECT_TRUE(contains(problem([](Json& j) { j["model_type"] = "llama"; }), "llama"));
  EXPECT_TRUE(contains(problem([](Json& j) { j["hidden_act"] = "gelu"; }), "hidden_act"));
  EXPECT_TRUE(contains(problem([](Json& j) { j["attention_dropout"] = 0.1; }), "attention_dropout"));
  EXPECT_TRUE(contains(problem([](Json& j) { j["swiglu_alpha"] = 1.0; }), "swiglu_alpha"));
  EXPECT_TRUE(contains(problem([](Json& j) { j["rope_scaling"]["rope_type"] = "llama3"; }), "llama3"));
  EXPECT_TRUE(contains(problem([](Json& j) { j["rope_scaling"]["mscale"] = 1.0; }), "mscale"));
  EXPECT_TRUE(contains(problem([](Json& j) { j["rope_scaling"]["attention_factor"] = 2.0; }), "attention_factor"));
  EXPECT_TRUE(contains(problem([](Json& j) { j["rope_parameters"] = {{"rope_type", "default"}}; }), "differ"));
  EXPECT_TRUE(contains(problem([](Json& j) { j["experts_per_token"] = 2; }), "experts_per_token"));
  EXPECT_TRUE(contains(problem([](Json& j) { j["initial_context_length"] = 2; }), "initial_context_length"));
  EXPECT_TRUE(contains(problem([](Json& j) { j["num_shared_experts"] = 2; }), "num_shared_experts"));
  EXPECT_TRUE(contains(problem([](Json& j) { j["xinslm"] = {{"qk_nrom", true}}; }), "qk_nrom"));
}

TEST_F(ReadModelConfig, RefusesMissingWrongAndImpossibleValues) {
  EXPECT_TRUE(contains(problem([](Json& j) { j.erase("hidden_size"); }), "hidden_size is missing"));
  EXPECT_TRUE(contains(problem([](Json& j) { j["hidden_size"] = "wide"; }), "hidden_size is \"wide\""));
  EXPECT_TRUE(contains(problem([](Json& j) { j["hidden_size"] = 2.5; }), "expected an integer"));
  EXPECT_TRUE(contains(problem([](Json& j) { j["hidden_size"] = 18446744073709551615ULL; }), "hidden_size"));
  EXPECT_TRUE(contains(problem([](Json& j) { j["num_hidden_layers"] = int64_t{1} << 60; }), "num_hidden_layers"));
  EXPECT_TRUE(contains(problem([](Json& j) { j["hidden_size"] = 0; }), "hidden_size is 0"));
  EXPECT_TRUE(contains(problem([](Json& j) { j["num_key_value_heads"] = 7; }), "num_key_value_heads"));
  EXPECT_TRUE(contains(problem([](Json& j) { j["layer_types"] = {"full_attention"}; }), "layer_types"));
  EXPECT_TRUE(contains(problem([](Json& j) { j["layer_types"] = {1, 2}; }), "layer_types"));
  EXPECT_TRUE(contains(problem([](Json& j) { j.erase("sliding_window"); }), "sliding_window is missing"));
  EXPECT_TRUE(contains(problem([](Json& j) { j["eos_token_id"] = -3; }), "eos_token_id"));
  EXPECT_TRUE(contains(problem([](Json& j) { j["tie_word_embeddings"] = "yes"; }), "tie_word_embeddings"));
  EXPECT_TRUE(contains(problem([](Json& j) { j = Json::array({1}); }), "expected a JSON object"));
}

std::string written(const std::filesystem::path& folder, const ModelConfig& config) {
  write_model_config(folder, config, "float32");
  return read_json(folder / "config.json").dump();
}

TEST_F(ModelConfigFile, ExactGptOssIsSaidToBeAndReadsBack) {
  ModelConfig config;
  config.eos_token_id = 5;
  config.more_eos_token_ids = {7, 6};
  config.elastic_top_k = true;  // how it was trained, not what it computes
  config.line_end = " <eos> ";
  config.document_attention = true;
  const std::string first = written(folder_, config);
  EXPECT_TRUE(contains(first, R"("model_type":"gpt_oss")")) << first;
  const ModelConfig read = read_model_config(folder_);
  EXPECT_TRUE(read.elastic_top_k);
  EXPECT_EQ(read.line_end, " <eos> ");
  EXPECT_TRUE(read.document_attention);
  EXPECT_EQ(written(folder_, read), first);
}

TEST_F(ModelConfigFile, DeparturesReadBackUnderOurOwnKey) {
  ModelConfig config;
  config.attention_sinks = config.attention_bias = config.router_bias = config.expert_bias = false;
  config.qk_norm = true;
  config.swiglu_limit = 0;
  config.logit_softcap = 30;
  config.router_softmax = "before";
  config.num_dense_layers = 2;
  config.dense_intermediate_size = 1000;
  config.rope.type = "default";
  config.sliding_window = 0;
  const std::string first = written(folder_, config);
  EXPECT_TRUE(contains(first, R"("model_type":"xinslm_moe")")) << first;
  const ModelConfig read = read_model_config(folder_);
  EXPECT_EQ(written(folder_, read), first);
  EXPECT_FALSE(read.attention_sinks);
  EXPECT_FALSE(read.attention_bias);
  EXPECT_FALSE(read.router_bias);
  EXPECT_FALSE(read.expert_bias);
  EXPECT_TRUE(read.qk_norm);
  EXPECT_EQ(read.swiglu_limit, 0);
  EXPECT_EQ(read.logit_softcap, 30);
  EXPECT_EQ(read.router_softmax, "before");
  EXPECT_EQ(read.num_dense_layers, 2);
  EXPECT_EQ(read.dense_intermediate_size, 1000);
  EXPECT_EQ(read.sliding_window, 0);
}

TEST_F(ModelConfigFile, GenerationConfigNamesTheTokensThereAre) {
  ModelConfig config;
  config.eos_token_id = 5;
  write_generation_config(folder_, config);
  const Json json = read_json(folder_ / "generation_config.json");
  EXPECT_EQ(json["eos_token_id"], 5);
  EXPECT_FALSE(json.contains("bos_token_id"));
}

TEST_F(ModelConfigFile, GenerationConfigKeepsEverySetting) {
  ModelConfig config;
  for (const double temperature : {0.0, 0.7}) {
    GenerationSettings written;
    written.temperature = temperature;
    written.top_k = 7;
    written.top_p = 0.5;
    written.min_p = 0.1;
    written.repetition_penalty = 1.3;
    written.max_tokens = 9;
    written.seed = 11;
    write_generation_config(folder_, config, written);
    GenerationSettings read = read_generation_config(folder_, config.vocab_size).settings;
    for (const char* key : {"temperature", "top_k", "top_p", "min_p", "repetition_penalty", "max_tokens", "seed"}) {
      EXPECT_EQ(generation_text(read, key), generation_text(written, key)) << key;
    }
  }
}

TEST_F(ModelConfigFile, EndsOfGenerationConfigCountAndOthersKeysAreLeftAlone) {
  ModelConfig config;
  config.eos_token_id = 5;
  write_model_config(folder_, config, "float32");
  put("generation_config.json", R"({"eos_token_id": [7, 5], "cache_implementation": {"a": 1}, "do_sample": false})");
  EXPECT_EQ(read_model_config(folder_).eos_token_ids(), (std::vector<int64_t>{5, 7}));
  EXPECT_EQ(read_generation_config(folder_, config.vocab_size).settings.temperature, 0);
  for (const char* wrong :
       {R"({"top_k": "many"})", R"({"top_p": 0})", R"({"eos_token_id": 60000})", R"({"max_new_tokens": 1.5})", "[]"}) {
    put("generation_config.json", wrong);
    EXPECT_TRUE(contains(data_error_of([&] { read_model_config(folder_); }), "generation_config.json")) << wrong;
  }
}

}  // namespace
