#include <ATen/ATen.h>

#include <map>

#include "unit/format/temporary_folder.h"
#include "xinslm/core/json.h"
#include "xinslm/format/model_folder.h"

using namespace xinslm;

namespace {

using Weights = TemporaryFolder;

const NamedTensors four{{"a", at::full({100}, 1.0F)},
                        {"b", at::full({100}, 2.0F)},
                        {"c", at::full({300}, 3.0F)},
                        {"d", at::full({10}, 4.0F)}};

std::map<std::string, float> means(const NamedTensors& weights) {
  std::map<std::string, float> result;
  for (const auto& [name, tensor] : weights) result[name] = tensor.mean().item<float>();
  return result;
}

TEST_F(Weights, OneFileWhenTheyFit) {
  write_weights(folder_, four);
  EXPECT_TRUE(std::filesystem::exists(folder_ / "model.safetensors"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "model.safetensors.index.json"));
  EXPECT_EQ(means(read_weights(folder_)), means(four));
}

TEST_F(Weights, ShardsWithAnIndexWhenTheyDoNot) {
  write_weights(folder_, four, 800);
  EXPECT_TRUE(std::filesystem::exists(folder_ / "model-00001-of-00003.safetensors"));
  const Json index = read_json(folder_ / "model.safetensors.index.json");
  EXPECT_EQ(index["metadata"]["total_size"], 510 * 4);
  EXPECT_EQ(index["weight_map"]["b"], "model-00001-of-00003.safetensors");
  EXPECT_EQ(index["weight_map"]["c"], "model-00002-of-00003.safetensors");  // larger than a shard: one to itself
  EXPECT_EQ(means(read_weights(folder_)), means(four));
}

TEST_F(Weights, WritingAgainLeavesNothingOfTheOtherLayout) {
  write_weights(folder_, four, 800);
  write_weights(folder_, {{"x", at::ones({1})}});
  EXPECT_EQ(read_weights(folder_).size(), 1U);
  write_weights(folder_, four, 800);
  EXPECT_EQ(means(read_weights(folder_)), means(four));
}

TEST_F(Weights, AMissingFolderOrFileIsNamed) {
  EXPECT_TRUE(contains(data_error_of([&] { read_weights(folder_ / "nowhere"); }), "nowhere"));
  EXPECT_TRUE(contains(data_error_of([&] { read_weights(folder_); }), "model.safetensors"));
}

TEST_F(Weights, AMissingShardIsNamed) {
  write_weights(folder_, four, 800);
  std::filesystem::remove(folder_ / "model-00002-of-00003.safetensors");
  EXPECT_TRUE(contains(data_error_of([&] { read_weights(folder_); }), "model-00002-of-00003.safetensors"));
}

TEST_F(Weights, ATensorTheIndexPromisesButTheShardLacksIsNamed) {
  write_weights(folder_, four, 800);
  write_safetensors(folder_ / "model-00001-of-00003.safetensors", {{"a", at::ones({1})}});
  EXPECT_TRUE(contains(data_error_of([&] { read_weights(folder_); }), "tensor b is missing"));
}

TEST_F(Weights, AnIndexThatPointsElsewhereIsRefused) {
  for (const char* place : {"../secret.safetensors", "/etc/passwd", "", ".", "..", "a/b.safetensors"}) {
    put("model.safetensors.index.json", cat(R"({"weight_map":{"a":")", place, "\"}}"));
    EXPECT_TRUE(contains(data_error_of([&] { read_weights(folder_); }), "not a file name")) << place;
  }
}

TEST_F(Weights, AnIndexOfTheWrongFormIsRefused) {
  for (const char* text : {"[]", "{}", R"({"weight_map":[]})", R"({"weight_map":{"a":1}})", "{"}) {
    put("model.safetensors.index.json", text);
    data_error_of([&] { read_weights(folder_); });
  }
}

}  // namespace
