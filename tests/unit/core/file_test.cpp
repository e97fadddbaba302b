#include "xinslm/core/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <functional>

#include "xinslm/core/error.h"

namespace fs = std::filesystem;
using namespace xinslm;

namespace {

class FileTest : public ::testing::Test {
 protected:
  void SetUp() override { fs::create_directories(folder_); }
  void TearDown() override { fs::remove_all(folder_); }
  size_t entries() const { return std::distance(fs::directory_iterator(folder_), fs::directory_iterator()); }
  fs::path folder_ = fs::temp_directory_path() / ::testing::UnitTest::GetInstance()->current_test_info()->name();
};

TEST_F(FileTest, MapsWhatWasWritten) {
  write_file(folder_ / "a", std::string("one\0two", 7));
  EXPECT_EQ(MappedFile(folder_ / "a").text(), std::string_view("one\0two", 7));
}

TEST_F(FileTest, MapsAnEmptyFile) {
  write_file(folder_ / "empty", "");
  EXPECT_TRUE(MappedFile(folder_ / "empty").bytes().empty());
}

TEST_F(FileTest, MissingFileIsAnErrorThatNamesIt) {
  try {
    MappedFile(folder_ / "missing.txt");
    FAIL() << "expected an error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::data);
    EXPECT_NE(std::string(error.what()).find("missing.txt"), std::string::npos);
  }
}

TEST_F(FileTest, DroppedAtomicFileLeavesTheOldOne) {
  write_file(folder_ / "a", "old");
  { AtomicFile(folder_ / "a").write("new"); }
  EXPECT_EQ(read_file(folder_ / "a"), "old");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(FileTest, AtomicDirectoryReplacesTheOldOne) {
  for (const std::string content : {"old", "new"}) {
    AtomicDirectory directory(folder_ / "model", true);
    write_file(directory.path() / "a", content);
    directory.commit();
  }
  EXPECT_EQ(read_file(folder_ / "model" / "a"), "new");
  EXPECT_EQ(entries(), 1u);
}

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::data);
    return error.what();
  }
  return "no error";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_F(FileTest, AFolderThatHasAppearedIsNotReplaced) {
  AtomicDirectory directory(folder_ / "model");
  write_file(directory.path() / "a", "new");
  write_file(folder_ / "model" / "a", "of somebody else");
  EXPECT_TRUE(contains(error_of([&] { directory.commit(); }), "has appeared in the meantime"));
  EXPECT_EQ(read_file(folder_ / "model" / "a"), "of somebody else");
}

TEST_F(FileTest, AnEmptyFolderIsTakenWithoutForce) {
  fs::create_directory(folder_ / "model");
  AtomicDirectory directory(folder_ / "model");
  write_file(directory.path() / "a", "new");
  directory.commit();
  EXPECT_EQ(read_file(folder_ / "model" / "a"), "new");
}

TEST_F(FileTest, ASlashAtTheEndOfAFolderMeansTheFolder) {
  AtomicDirectory directory((folder_ / "model").string() + "//");
  write_file(directory.path() / "a", "new");
  directory.commit();
  EXPECT_EQ(read_file(folder_ / "model" / "a"), "new");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(FileTest, ALinkedFolderIsReplacedWhereItIs) {
  write_file(folder_ / "disk" / "model" / "a", "old");
  fs::create_directory_symlink("disk/model", folder_ / "link");
  AtomicDirectory directory(folder_ / "link", true);
  write_file(directory.path() / "a", "new");
  directory.commit();
  EXPECT_TRUE(fs::is_symlink(folder_ / "link"));
  EXPECT_EQ(read_file(folder_ / "disk" / "model" / "a"), "new");
}

TEST_F(FileTest, ALinkedFileIsReplacedWhereItIs) {
  write_file(folder_ / "disk" / "a", "old");
  fs::create_symlink("disk/a", folder_ / "link");
  write_file(folder_ / "link", "new");
  EXPECT_TRUE(fs::is_symlink(folder_ / "link"));
  EXPECT_EQ(read_file(folder_ / "disk" / "a"), "new");
}

TEST_F(FileTest, WhatIsNoPlainFileIsWrittenToAsItIs) {
  const fs::path pipe = folder_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const int reader = ::open(pipe.c_str(), O_RDONLY | O_NONBLOCK);
  write_file(pipe, "through");
  char text[16] = {};
  EXPECT_EQ(::read(reader, text, sizeof text), 7);
  ::close(reader);
  EXPECT_TRUE(fs::is_fifo(pipe));
}

TEST_F(FileTest, RightsOfAReplacedFileStay) {
  write_file(folder_ / "a", "old");
  ::chmod((folder_ / "a").c_str(), 0600);
  write_file(folder_ / "a", "new");
  EXPECT_EQ(fs::status(folder_ / "a").permissions(), fs::perms::owner_read | fs::perms::owner_write);
}

TEST_F(FileTest, WhatDeadProcessesLeftIsDeletedAndWhatLivingOnesWriteIsNot) {
  write_file(folder_ / "dead.bin.partial-0123456789abcdef", "half");
  write_file(folder_ / "dead.partial-0123456789abcdef" / "a", "half");
  write_file(folder_ / "mine.partial-1", "no name of ours");
  AtomicDirectory living(folder_ / "living");
  AtomicFile living_file(folder_ / "file");
  write_file(folder_ / "b", "new");
  EXPECT_EQ(entries(), 4u);
  EXPECT_TRUE(fs::exists(living.path()));
  EXPECT_TRUE(fs::exists(folder_ / "mine.partial-1"));
  living_file.commit();
  living.commit();
  EXPECT_EQ(entries(), 4u);
}

TEST_F(FileTest, WhatWasMovedAsideComesBack) {
  write_file(folder_ / "model.replaced-0123456789abcdef" / "a", "old");
  write_file(folder_ / "b", "");
  EXPECT_EQ(read_file(folder_ / "model" / "a"), "old");
  write_file(folder_ / "model.replaced-0123456789abcdef" / "a", "older");
  write_file(folder_ / "b", "");
  EXPECT_EQ(read_file(folder_ / "model" / "a"), "old");
  EXPECT_EQ(entries(), 2u);
}

TEST_F(FileTest, LongNamesHaveRoomForTheirPartialOnes) {
  const fs::path longest = folder_ / std::string(255, 'n');
  write_file(longest, "text");
  EXPECT_EQ(read_file(longest), "text");
  EXPECT_TRUE(contains(error_of([&] { write_file(folder_ / std::string(256, 'n'), ""); }), "name too long"));
}

TEST_F(FileTest, LinksInACircleAreAnError) {
  fs::create_symlink("b", folder_ / "a");
  fs::create_symlink("a", folder_ / "b");
  EXPECT_TRUE(contains(error_of([&] { write_file(folder_ / "a", ""); }), "circle"));
  EXPECT_TRUE(contains(error_of([&] { read_file(folder_ / "a"); }), "circle"));
  EXPECT_FALSE(path_exists(folder_ / "a"));
}

TEST_F(FileTest, AFullDiskIsToldAtOnceAndTheOldFileStays) {
  write_file(folder_ / "a", "old");
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{1 << 20, before.rlim_max};
  std::signal(SIGXFSZ, SIG_IGN);
  ::setrlimit(RLIMIT_FSIZE, &small);
  const std::string message = error_of([&] {
    AtomicFile file(folder_ / "a");
    const std::string much(1 << 20, 'x');
    file.write(much);
    file.write(much);
    ADD_FAILURE() << "the second write was taken";
  });
  ::setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_TRUE(contains(message, "writing failed")) << message;
  EXPECT_EQ(read_file(folder_ / "a"), "old");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(FileTest, AFileThatMemoryDoesNotHoldIsAnErrorAndNotItsBeginning) {
#if defined(__APPLE__) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "memory cannot be limited here";
#endif
  std::ofstream(folder_ / "large") << "text";
  fs::resize_file(folder_ / "large", uintmax_t{1} << 40);  // takes no room: nothing is written
  rlimit before{};
  ::getrlimit(RLIMIT_AS, &before);
  const rlimit small{rlim_t{1} << 38, before.rlim_max};
  ::setrlimit(RLIMIT_AS, &small);
  try {
    read_file(folder_ / "large");
    FAIL() << "expected an error";
  } catch (const Error& error) {
    EXPECT_TRUE(contains(error.what(), "out of memory")) << error.what();
  }
  ::setrlimit(RLIMIT_AS, &before);
}

TEST_F(FileTest, AMissingFolderForTemporaryFilesIsNamed) {
  const char* before = std::getenv("TMPDIR");
  const std::string kept = before ? before : "";
  ::setenv("TMPDIR", "/nowhere/at/all", 1);
  EXPECT_TRUE(contains(error_of([] { temporary_folder(); }), "/nowhere/at/all: cannot hold temporary files"));
  before ? ::setenv("TMPDIR", kept.c_str(), 1) : ::unsetenv("TMPDIR");
}

TEST_F(FileTest, SymlinkIsReplaced) {
  replace_symlink(folder_ / "latest", "step-1");
  replace_symlink(folder_ / "latest", "step-2");
  EXPECT_EQ(fs::read_symlink(folder_ / "latest"), "step-2");
}

}  // namespace
