#include "xinslm/cli/chat_shell.h"

#include <gtest/gtest.h>

#include <sstream>

#include "unit/generate/byte_tokenizer.h"

namespace xinslm::cli {
namespace {

class ChatShellTest : public ::testing::Test {
 protected:
  static GenerateOptions options() {
    GenerateOptions options;
    options.max_tokens = 5;
    return options;
  }

  /// What a line makes the shell note.
  std::string note(const std::string& line) {
    notes.str("");
    EXPECT_TRUE(shell.handle(line));
    return notes.str();
  }

  Transformer model = tiny_model();
  ChatSession session{model, std::make_shared<ByteTokenizer>(), true};
  std::ostringstream out, notes;
  ChatShell shell{session, options(), out, notes};
};

TEST_F(ChatShellTest, AnswersGoToTheOutputOneLineEach) {
  shell.handle("hello");
  EXPECT_TRUE(out.str().ends_with("\n"));
  EXPECT_EQ(session.messages().size(), 2u);
}

TEST_F(ChatShellTest, HelpListsEveryCommand) {
  const std::string help = note("/help");
  for (const char* name : {"/help", "/system", "/effort", "/temp", "/top_p", "/experts", "/retry", "/undo", "/reset",
                           "/save", "/load", "/stats", "/quit"}) {
    EXPECT_NE(help.find(name), std::string::npos) << name;
  }
}

TEST_F(ChatShellTest, CommandsChangeTheOptions) {
  note("/temp 0.25");
  note("/top_p 0.5");
  note("/experts 3");
  EXPECT_EQ(shell.options().sampling.temperature, 0.25);
  EXPECT_EQ(shell.options().sampling.top_p, 0.5);
  EXPECT_EQ(shell.options().num_experts_per_tok, 3);
  note("/effort high");
  EXPECT_EQ(shell.options().num_experts_per_tok, 4);
  EXPECT_EQ(session.effort(), "high");
}

TEST_F(ChatShellTest, MistakesAreToldAndChangeNothing) {
  EXPECT_NE(note("/temp hot").find("temperature is \"hot\", expected a number of at least 0"), std::string::npos);
  EXPECT_NE(note("/temp -1").find("temperature is -1"), std::string::npos);
  EXPECT_NE(note("/experts 9").find("1 to 4"), std::string::npos);
  EXPECT_NE(note("/effort huge").find("huge"), std::string::npos);
  EXPECT_NE(note("/rest").find("/reset"), std::string::npos);
  EXPECT_NE(note("/retry").find("no answer"), std::string::npos);
  EXPECT_NE(note("/load /nonexistent/file").find("/nonexistent/file"), std::string::npos);
  EXPECT_EQ(shell.options().sampling.temperature, GenerateOptions().sampling.temperature);
  EXPECT_TRUE(session.messages().empty());
}

TEST_F(ChatShellTest, NumbersHaveTheBoundsOfAConfiguration) {
  for (const char* line :
       {"/temp 1e-320", "/temp 1e308", "/top_p 1e-320", "/penalty 0.01", "/top_k 9223372036854775807"}) {
    note(line);
    const std::string problems = note("hello");
    EXPECT_EQ(problems.find("error"), std::string::npos) << line << ": " << problems;
  }
  EXPECT_EQ(session.messages().size(), 10u);
  for (const char* line : {"/temp 1e309", "/top_p 0", "/top_p 1.1", "/min_p -1", "/penalty 0", "/top_k -1",
                           "/max_tokens 9223372036854775808"}) {
    EXPECT_NE(note(line).find("expected a"), std::string::npos) << line;
  }
}

TEST_F(ChatShellTest, TwoSlashesSendOne) {
  note("//etc/passwd is a file");
  ASSERT_EQ(session.messages().size(), 2u);
  EXPECT_EQ(session.messages()[0].content, "/etc/passwd is a file");
}

TEST_F(ChatShellTest, AnUnknownCommandIsAnErrorWhereNobodyCanCorrectIt) {
  EXPECT_NE(note("/etc/passwd is a file").find("//etc/passwd"), std::string::npos);
  ChatShell piped(session, options(), out, notes, false);
  EXPECT_THROW(piped.handle("/etc/passwd is a file"), Error);
  EXPECT_TRUE(piped.handle("/temp hot"));
}

TEST_F(ChatShellTest, LoadTakesTheSavedEffortWithItsExperts) {
  const auto file = std::filesystem::temp_directory_path() / "xinslm-shell-effort.json";
  note("/effort high");
  note("/save " + file.string());
  note("/effort low");
  note("/load " + file.string());
  EXPECT_NE(note("/effort").find("high"), std::string::npos);
  EXPECT_EQ(shell.options().num_experts_per_tok, 4);
  std::filesystem::remove(file);
}

TEST_F(ChatShellTest, QuitEnds) {
  EXPECT_TRUE(shell.handle("   "));
  EXPECT_FALSE(shell.handle("/quit"));
}

}  // namespace
}  // namespace xinslm::cli
