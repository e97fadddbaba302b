#include "xinslm/core/file.h"

#include <gtest/gtest.h>

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
  { AtomicFile(folder_ / "a").stream() << "new"; }
  EXPECT_EQ(read_file(folder_ / "a"), "old");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(FileTest, AtomicDirectoryReplacesTheOldOne) {
  for (const std::string content : {"old", "new"}) {
    AtomicDirectory directory(folder_ / "model");
    write_file(directory.path() / "a", content);
    directory.commit();
  }
  EXPECT_EQ(read_file(folder_ / "model" / "a"), "new");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(FileTest, SymlinkIsReplaced) {
  replace_symlink(folder_ / "latest", "step-1");
  replace_symlink(folder_ / "latest", "step-2");
  EXPECT_EQ(fs::read_symlink(folder_ / "latest"), "step-2");
}

}  // namespace
