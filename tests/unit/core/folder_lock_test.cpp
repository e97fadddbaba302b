#include "xinslm/core/folder_lock.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "xinslm/core/error.h"
#include "xinslm/core/file.h"

namespace fs = std::filesystem;

namespace xinslm {
namespace {

class FolderLockTest : public ::testing::Test {
 protected:
  void SetUp() override { fs::create_directories(root_); }
  void TearDown() override { fs::remove_all(root_); }

  std::string refusal() const {
    try {
      const FolderLock lock(folder_);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage);
      return error.what();
    }
    return "";
  }

  fs::path root_ = fs::temp_directory_path() / ::testing::UnitTest::GetInstance()->current_test_info()->name();
  fs::path folder_ = root_ / "runs" / "one";
};

TEST_F(FolderLockTest, NamesTheProcessThatHoldsIt) {
  const FolderLock lock(folder_);
  const std::string message = refusal();
  EXPECT_NE(message.find(cat("process ", ::getpid())), std::string::npos) << message;
  EXPECT_NE(message.find("test_core"), std::string::npos) << message;
}

TEST_F(FolderLockTest, LeavesNothingWhereNothingWas) {
  { const FolderLock lock(folder_.string() + "/"); }
  EXPECT_FALSE(fs::exists(root_ / "runs"));
  {
    const FolderLock lock(folder_);
    write_file(folder_ / "a", "");
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 1);
}

TEST_F(FolderLockTest, IsFreeWhenItsHolderWasKilled) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const FolderLock lock(folder_);
    (void)!::write(ready[1], "x", 1);
    ::pause();
    ::_exit(0);
  }
  char byte;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  EXPECT_NE(refusal().find(cat("process ", child)), std::string::npos);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_TRUE(fs::exists(folder_ / FolderLock::file_name));
  EXPECT_EQ(refusal(), "");
}

}  // namespace
}  // namespace xinslm
