#include "xinslm/core/spool.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>
#include <thread>

#include "unit/format/temporary_folder.h"
#include "xinslm/core/error.h"
#include "xinslm/core/file.h"

namespace xinslm {
namespace {

class Spool : public TemporaryFolder {
 protected:
  std::string pipe() const {
    const std::string path = (folder_ / "pipe").string();
    ::mkfifo(path.c_str(), 0600);
    return path;
  }
};

}  // namespace

TEST_F(Spool, KeepsWhatCanBeReadOnceOnly) {
  const std::string path = pipe(), content(700000, 'x');
  EXPECT_TRUE(reads_once(path));
  EXPECT_FALSE(reads_once(folder_));
  EXPECT_FALSE(reads_once("/dev/null"));
  std::thread writer([&] { std::ofstream(path) << content; });
  const std::filesystem::path copy = spooled(path);
  writer.join();
  EXPECT_EQ(read_file(copy), content);
  EXPECT_EQ(spooled(path), copy);
}

TEST_F(Spool, SaysWhenThereIsNoPlaceForIt) {
  const char* before = std::getenv("TMPDIR");
  const std::string kept = before != nullptr ? before : "";
  ::setenv("TMPDIR", (folder_ / "missing").c_str(), 1);
  const std::string message = data_error_of([&] { spooled(pipe()); });
  EXPECT_TRUE(contains(message, "missing")) << message;
  EXPECT_TRUE(contains(message, "TMPDIR")) << message;
  before != nullptr ? ::setenv("TMPDIR", kept.c_str(), 1) : ::unsetenv("TMPDIR");
}

}  // namespace xinslm
