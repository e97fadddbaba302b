#include "xinslm/eval/items.h"

#include <gtest/gtest.h>

#include "unit/eval/scratch_file.h"
#include "xinslm/core/error.h"

namespace xinslm {
namespace {

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& problem) {
    return problem.what();
  }
  return "";
}

TEST(HellaSwag, ContextAndEndingsAreThoseOfTheHarness) {
  const ScratchFile file(R"({"activity_label": "Baking bread", "ctx_a": "[header] How to bake [title] Mix.",)"
                         R"( "ctx_b": "the BOY", "endings": [" stirs  [substeps] it. ", "sleeps."], "label": "1"})"
                         "\n\n");
  const std::vector<ChoiceItem> items = read_hellaswag(file.path(), 0);
  ASSERT_EQ(items.size(), 1u);
  EXPECT_EQ(items[0].contexts, std::vector<std::string>{"Baking bread: How to bake. Mix. The boy"});
  EXPECT_EQ(items[0].continuations, (std::vector<std::string>{" stirs  it.", " sleeps."}));
  EXPECT_EQ(items[0].right, 1u);
}

TEST(HellaSwag, BracketsEndOnTheirLine) {
  EXPECT_EQ(clean_hellaswag("a [b] c [d\ne] f"), "a c [d\ne] f");
  EXPECT_EQ(clean_hellaswag("a [b [c] d"), "a d");
}

TEST(HellaSwag, MistakesNameFileLineAndField) {
  const ScratchFile file("{\"activity_label\": 3, \"ctx_a\": \"a\", \"ctx_b\": \"b\"}\n");
  const std::string message = message_of([&] { read_hellaswag(file.path(), 0); });
  EXPECT_NE(message.find(":1: no \"endings\""), std::string::npos) << message;
  const ScratchFile broken("{\"a\": \n", "broken.jsonl");
  EXPECT_NE(message_of([&] { read_hellaswag(broken.path(), 0); }).find(":1: not valid JSON"), std::string::npos);
  const ScratchFile empty("\n", "empty.jsonl");
  EXPECT_NE(message_of([&] { read_hellaswag(empty.path(), 0); }).find("no items"), std::string::npos);
}

TEST(WinoGrande, TheOptionGoesIntoTheContextAndTheRestIsScored) {
  const ScratchFile file(
      R"({"sentence": "Ann saw Eve so _ waved.", "option1": "Ann", "option2": "Eve", "answer": "2"})");
  const std::vector<ChoiceItem> items = read_winogrande(file.path(), 0);
  ASSERT_EQ(items.size(), 1u);
  EXPECT_EQ(items[0].contexts, (std::vector<std::string>{"Ann saw Eve so Ann", "Ann saw Eve so Eve"}));
  EXPECT_EQ(items[0].continuations, std::vector<std::string>{" waved."});
  EXPECT_EQ(items[0].right, 1u);
}

TEST(WinoGrande, RejectsAnswersThatDoNotExist) {
  const ScratchFile file(R"({"sentence": "a _ b", "option1": "x", "option2": "y", "answer": "3"})");
  EXPECT_NE(message_of([&] { read_winogrande(file.path(), 0); }).find("\"answer\" is \"3\""), std::string::npos);
}

TEST(Lambada, TheLastWordIsTheTargetAndTheLimitCounts) {
  const ScratchFile file("{\"text\": \"one two  three\"}\n{\"text\": \"four five\"}\n");
  EXPECT_EQ(read_lambada(file.path(), 0).size(), 2u);
  const std::vector<LambadaItem> items = read_lambada(file.path(), 1);
  ASSERT_EQ(items.size(), 1u);
  EXPECT_EQ(items[0].context, "one two ");
  EXPECT_EQ(items[0].target, " three");
}

TEST(WikiText, PagesBeginAtFirstLevelHeadings) {
  const std::string text = " \n = One = \n \n text \n = = Part = = \n more \n = Two = \n end \n";
  const std::vector<std::string> pages = wikitext_pages(text);
  ASSERT_EQ(pages.size(), 2u);
  EXPECT_EQ(pages[0], " = One = \n \n text \n = = Part = = \n more ");
  EXPECT_EQ(pages[1], " = Two = \n end \n");
}

TEST(WikiText, DetokenizingUndoesTheSpacing) {
  EXPECT_EQ(wikitext_detokenize("a @-@ b 1 @,@ 000 , c . d ( e ) \" f \" the dog 's N x \n y"),
            "a-b 1,000, c. d (e) \"f\" the dog's 1 x\ny");
  EXPECT_EQ(wikitext_detokenize("= = = T = = =\n"), "=== T ===\n");
}

}  // namespace
}  // namespace xinslm
