#include "xinslm/core/spool.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "core/descriptor.h"
#include "core/partial.h"
#include "xinslm/core/error.h"
#include "xinslm/core/file.h"
#include "xinslm/core/log.h"

namespace fs = std::filesystem;

namespace xinslm {
namespace {

/// Reads up to the buffer's size; 0 = the end.
size_t read_some(int descriptor, std::vector<char>& buffer, const std::string& name) {
  while (true) {
    const ssize_t count = ::read(descriptor, buffer.data(), buffer.size());
    if (count >= 0) return static_cast<size_t>(count);
    if (errno != EINTR) data_error(name, ": cannot read: ", std::strerror(errno));
  }
}

void write_all(int descriptor, const char* data, size_t size, const fs::path& file) {
  while (size > 0) {
    const ssize_t count = ::write(descriptor, data, size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      data_error(file.string(), ": cannot keep the text that was read: ", std::strerror(errno),
                 "; set TMPDIR to a folder with more room, or give a file");
    }
    data += count;
    size -= static_cast<size_t>(count);
  }
}

class TemporaryCopy {
 public:
  explicit TemporaryCopy(const std::string& source) {
    const bool standard_input = source == "-";
    const std::string name = standard_input ? "standard input" : source;
    // The place for it first, above: what cannot be kept must not be read.
    ::fchmod(file_.descriptor(), 0600);
    const Descriptor opened(standard_input ? -1 : ::open(source.c_str(), O_RDONLY | O_CLOEXEC));
    if (!standard_input && !opened.open()) data_error(name, ": cannot open: ", std::strerror(errno));
    copy(standard_input ? STDIN_FILENO : opened.get(), name);
  }
  TemporaryCopy(const TemporaryCopy&) = delete;

  const fs::path& path() const { return file_.path(); }

 private:
  void copy(int from, const std::string& name) const {
    std::vector<char> buffer(1 << 18);
    while (const size_t count = read_some(from, buffer, name)) {
      write_all(file_.descriptor(), buffer.data(), count, path());
    }
  }

  /// Never whole, so it goes with the program, or is removed by the next one that makes a copy.
  Partial file_{temporary_folder() / "xinslm-input", Partial::Kind::file};
};

}  // namespace

bool reads_once(const fs::path& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return false;
  if (!S_ISCHR(info.st_mode)) return S_ISFIFO(info.st_mode) || S_ISSOCK(info.st_mode);
  const Descriptor device(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  return device.open() && ::isatty(device.get()) != 0;
}

fs::path spooled(const std::string& source) {
  static std::mutex lock;
  static std::map<std::string, std::unique_ptr<TemporaryCopy>> copies;
  const std::lock_guard guard(lock);
  std::unique_ptr<TemporaryCopy>& copy = copies[source];
  if (!copy) {
    if (source != "-") log::info(source + ": can be read once only; its text is read to the end first");
    copy = std::make_unique<TemporaryCopy>(source);
  }
  return copy->path();
}

}  // namespace xinslm
