#include "xinslm/format/owned_files.h"

#include <gtest/gtest.h>

#include "temporary_folder.h"
#include "xinslm/core/error.h"
#include "xinslm/format/model_folder.h"

namespace fs = std::filesystem;

namespace xinslm {
namespace {

class OwnedFiles : public TemporaryFolder {
 protected:
  fs::path written(const std::string& name) const {
    fs::create_directories(folder_ / name);
    write_model_config(folder_ / name, ModelConfig(), "float32");
    std::ofstream(folder_ / name / "model-00001-of-00002.safetensors") << "x";
    return folder_ / name;
  }

  static std::string refusal(const fs::path& target, bool force, const fs::path& source = {}) {
    try {
      check_model_target(target, force, source);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage);
      return error.what();
    }
    return "";
  }
};

TEST_F(OwnedFiles, AModelThatWasWrittenHereIsReplacedWithForceOnly) {
  const fs::path model = written("model");
  put("model/.DS_Store", "x");
  EXPECT_TRUE(contains(refusal(model, false), "--force"));
  EXPECT_EQ(refusal(model, true), "");
  EXPECT_EQ(refusal(folder_ / "new" / "model", false), "");
}

TEST_F(OwnedFiles, WhatWasAddedIsNamedAndKept) {
  const fs::path model = written("model");
  put("model/notes.txt", "mine");
  fs::create_directories(model / "adapter");
  const std::string message = refusal(model, true);
  EXPECT_TRUE(contains(message, "notes.txt")) << message;
  EXPECT_TRUE(contains(message, "adapter")) << message;
  EXPECT_FALSE(contains(message, "config.json")) << message;
}

TEST_F(OwnedFiles, ModelsOfOthersAndOtherFoldersAreNotReplaced) {
  fs::create_directories(folder_ / "other");
  put("other/config.json", "{\"model_type\": \"gpt_oss\", \"dtype\": \"bfloat16\"}");
  EXPECT_TRUE(contains(refusal(folder_ / "other", true), "other/config.json"));
  put("file", "mine");
  EXPECT_TRUE(contains(refusal(folder_ / "file", true), "file"));
  EXPECT_EQ(foreign_files(folder_ / "missing").size(), 0u);
}

TEST_F(OwnedFiles, CopiesOfTheSourceAreNoLoss) {
  const fs::path source = written("source"), model = written("model");
  put("source/LICENSE", "text");
  put("model/LICENSE", "text");
  EXPECT_EQ(refusal(model, true, source), "");
  put("model/LICENSE", "another");
  EXPECT_TRUE(contains(refusal(model, true, source), "LICENSE"));
}

TEST_F(OwnedFiles, TheModelThatIsReadIsNotReplaced) {
  const fs::path model = written("model");
  EXPECT_TRUE(contains(refusal(model, true, model), "is or holds the model"));
  fs::create_directory_symlink("model", folder_ / "link");
  EXPECT_TRUE(contains(refusal(folder_ / "link/", true, model), "is or holds the model"));
}

}  // namespace
}  // namespace xinslm
