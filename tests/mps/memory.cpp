#include "mps/memory.h"

#include <algorithm>
#include <cstring>

#include "mps/simulator.h"

extern "C" {
extern char __executable_start, end;  // the program's own constants lie between
}

namespace simulator {

Running running;
bool is_running = false;
Memory memory;

namespace {

constexpr size_t gap = 64;  // between threadgroup arrays, so that running over the end of one is seen
constexpr size_t arena_bytes = 2 * threadgroup_limit;
alignas(64) char arena[arena_bytes];

constexpr uint16_t several = 0xffff;

std::string described(const char* verb, size_t bytes, ptrdiff_t offset, size_t size, const std::string& name) {
  std::string where;
  if (offset < 0) {
    where = std::to_string(-offset) + " bytes before the start";
  } else if (offset >= static_cast<ptrdiff_t>(size)) {
    where = std::to_string(offset - size) + " bytes past the end";
  } else {
    where = "over the end";
  }
  return std::string(verb) + " " + std::to_string(bytes) + " bytes " + where + " of " + name + " (" +
         std::to_string(size) + " bytes)";
}

}  // namespace

void Memory::begin_launch() {
  buffers_.clear();
  arrays_.clear();
  used_ = 0;
  uses_.assign(arena_bytes, Use{});
}

/// Whatever was there is gone: not-a-numbers show in the results of a kernel that relies on zeros.
void Memory::begin_group() {
  std::memset(arena, 0xff, used_);
}

void Memory::add_buffer(const void* begin, size_t bytes, bool writable, const std::string& name) {
  buffers_.push_back({static_cast<char*>(const_cast<void*>(begin)), bytes, writable, name, {}});
}

void* Memory::threadgroup_array(int declaration, size_t bytes, size_t grain, const char* name) {
  for (const Array& array : arrays_) {
    if (array.declaration == declaration) return arena + array.begin;
  }
  size_t total = bytes;
  for (const Array& array : arrays_) total += array.bytes;
  if (total > threadgroup_limit) {
    fail("needs " + std::to_string(total) + " bytes of threadgroup memory with " + name + "; there are " +
         std::to_string(threadgroup_limit));
  }
  if (arrays_.size() >= 256) fail("has more than 256 threadgroup arrays");
  const size_t begin = used_ + gap;
  used_ = (begin + bytes + 63) / 64 * 64;
  arrays_.push_back({declaration, begin, bytes, grain, name});
  std::memset(arena + begin, 0xff, bytes);
  return arena + begin;
}

Memory::Buffer* Memory::buffer_of(const char* place, size_t bytes, const char* verb) {
  static size_t last = 0;
  const auto holds = [&](const Buffer& b) {
    return place >= b.begin && bytes <= b.bytes && size_t(place - b.begin) <= b.bytes - bytes;
  };
  if (last < buffers_.size() && holds(buffers_[last])) return &buffers_[last];
  for (size_t i = 0; i < buffers_.size(); ++i) {
    if (holds(buffers_[i])) return &buffers_[last = i];
  }
  const Buffer* nearest = nullptr;
  size_t least = SIZE_MAX;
  for (const Buffer& b : buffers_) {
    const size_t distance =
        place < b.begin ? b.begin - place : place - b.begin - std::min<size_t>(b.bytes, place - b.begin);
    if (distance < least) least = distance, nearest = &b;
  }
  if (!nearest || least > (size_t(1) << 30)) fail(std::string(verb) + " memory that belongs to no argument");
  fail(described(verb, bytes, place - nearest->begin, nearest->bytes, nearest->name));
}

void Memory::use_device(Buffer& buffer, const char* place, size_t bytes, bool writes) {
  if (buffer.writers.empty()) {
    if (!writes) return;
    buffer.writers.resize(buffer.bytes);
  }
  Writer* writer = &buffer.writers[place - buffer.begin];
  const Running& r = running;
  for (size_t i = 0; i < bytes; ++i, ++writer) {
    const bool is_ordered =
        writer->group == 0 ||
        (writer->group == r.group && (writer->thread == r.thread || writer->epoch != r.device_epoch ||
                                      (writer->simdgroup == r.simdgroup && writer->simd_epoch != r.device_simd_epoch)));
    if (!is_ordered) {
      fail(std::string(writes ? "writes" : "reads") + " byte " + std::to_string(place + i - buffer.begin) + " of " +
           buffer.name + ", which " +
           (writer->group == r.group ? "thread " + std::to_string(writer->thread) + " of its group"
                                     : "a thread of another group") +
           " wrote with no barrier between");
    }
    if (writes) *writer = {r.group, r.device_epoch, r.device_simd_epoch, r.thread, r.simdgroup};
  }
}

const Memory::Array& Memory::array_of(size_t offset, size_t bytes, const char* verb) {
  static size_t last = 0;
  const auto holds = [&](const Array& a) { return offset >= a.begin && offset + bytes <= a.begin + a.bytes; };
  if (last < arrays_.size() && holds(arrays_[last])) return arrays_[last];
  for (size_t i = 0; i < arrays_.size(); ++i) {
    if (holds(arrays_[i])) return arrays_[last = i];
  }
  if (arrays_.empty()) fail(std::string(verb) + " threadgroup memory that was not declared");
  const Array* nearest = &arrays_[0];
  for (const Array& a : arrays_) {
    if (a.begin <= offset) nearest = &a;
  }
  fail(described(verb, bytes, ptrdiff_t(offset) - ptrdiff_t(nearest->begin), nearest->bytes,
                 "threadgroup array " + nearest->name));
}

void Memory::fail_race(const Array& array, size_t offset, const char* own, const char* other, uint16_t thread) {
  fail(std::string(own) + " byte " + std::to_string(offset - array.begin) + " of threadgroup array " + array.name +
       ", which " + (thread == several ? "other threads" : "thread " + std::to_string(thread)) + " of its group " +
       other + " with no barrier between");
}

namespace {

/// Whether a barrier lies between the running thread and what `thread` did then.
bool is_ordered(uint32_t epoch, uint32_t simd_epoch, uint16_t thread, uint16_t simdgroup) {
  return thread == running.thread || epoch != running.epoch ||
         (simdgroup == running.simdgroup && simd_epoch != running.simd_epoch);
}

}  // namespace

void Memory::note_read(const Array& array, size_t offset) {
  Use& use = uses_[offset];
  const Running& r = running;
  if (use.group != r.group) {
    fail("reads byte " + std::to_string(offset - array.begin) + " of threadgroup array " + array.name +
         " before anything was written there");
  }
  if (!is_ordered(use.write_epoch, use.write_simd_epoch, use.writer, use.writer_simdgroup)) {
    fail_race(array, offset, "reads", "wrote", use.writer);
  }
  const bool is_first = use.read_epoch != r.epoch, is_own = !is_first && use.reader_simdgroup == r.simdgroup;
  if (!is_first && !is_own) use.other_epoch = r.epoch;
  const bool joins = is_own && use.read_simd_epoch == r.simd_epoch && use.reader != r.thread;
  use.reader = joins ? several : r.thread;
  use.read_epoch = r.epoch, use.read_simd_epoch = r.simd_epoch, use.reader_simdgroup = r.simdgroup;
}

void Memory::note_write(const Array& array, size_t offset) {
  Use& use = uses_[offset];
  const Running& r = running;
  if (use.group == r.group && !is_ordered(use.write_epoch, use.write_simd_epoch, use.writer, use.writer_simdgroup)) {
    fail_race(array, offset, "writes", "wrote", use.writer);
  }
  if (use.other_epoch == r.epoch) fail_race(array, offset, "writes", "reads", several);
  if (!is_ordered(use.read_epoch, use.read_simd_epoch, use.reader, use.reader_simdgroup)) {
    fail_race(array, offset, "writes", "reads", use.reader);
  }
  use.group = r.group, use.write_epoch = r.epoch, use.write_simd_epoch = r.simd_epoch;
  use.writer = r.thread, use.writer_simdgroup = r.simdgroup;
}

void Memory::use_threadgroup(size_t offset, size_t bytes, bool writes) {
  const Array& array = array_of(offset, bytes, writes ? "writes" : "reads");
  for (size_t at = offset - (offset - array.begin) % array.grain; at < offset + bytes; at += array.grain) {
    writes ? note_write(array, at) : note_read(array, at);
  }
}

void Memory::read(const void* place, size_t bytes) {
  const char* p = static_cast<const char*>(place);
  if (size_t(p - running.stack) < stack_bytes) return;
  if (size_t(p - arena) < arena_bytes) return use_threadgroup(p - arena, bytes, false);
  if (p >= &__executable_start && p < &end) return;
  use_device(*buffer_of(p, bytes, "reads"), p, bytes, false);
}

void Memory::write(void* place, size_t bytes) {
  char* p = static_cast<char*>(place);
  if (size_t(p - running.stack) < stack_bytes) return;
  if (size_t(p - arena) < arena_bytes) return use_threadgroup(p - arena, bytes, true);
  Buffer& buffer = *buffer_of(p, bytes, "writes");
  if (!buffer.writable) fail("writes to " + buffer.name + ", which is constant");
  use_device(buffer, p, bytes, true);
}

/// Atomic accesses race with none; what they leave in threadgroup memory counts as written.
void Memory::atomic(void* place, size_t bytes) {
  char* p = static_cast<char*>(place);
  if (size_t(p - arena) >= arena_bytes) {
    buffer_of(p, bytes, "changes");
    return;
  }
  const size_t offset = p - arena;
  array_of(offset, bytes, "changes");
  if (uses_[offset].group != running.group) fail("changes a threadgroup atomic before anything was stored there");
}

}  // namespace simulator
