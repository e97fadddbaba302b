#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

// Which memory a kernel may use, and who used it last. The scheduler of simulator.cpp tells who is running.
namespace simulator {

/// The running thread, as far as the order of accesses goes. Epochs count barriers and never start again.
struct Running {
  const void* instruction = nullptr;  ///< of its last access
  char* stack = nullptr;              ///< lowest address of its fibre's stack
  uint32_t group = 0;                 ///< counts groups over the launch, from 1
  uint16_t thread = 0;                ///< in its group
  uint16_t simdgroup = 0;
  uint32_t epoch = 0, simd_epoch = 0;                ///< barriers that order threadgroup memory
  uint32_t device_epoch = 0, device_simd_epoch = 0;  ///< and device memory
};
extern Running running;
extern bool is_running;
constexpr size_t stack_bytes = 256 * 1024;
constexpr size_t threadgroup_limit = 32 * 1024;

class Memory {
 public:
  void begin_launch();
  void begin_group();
  void add_buffer(const void* begin, size_t bytes, bool writable, const std::string& name);
  void* threadgroup_array(int declaration, size_t bytes, size_t grain, const char* name);
  void read(const void* place, size_t bytes);
  void write(void* place, size_t bytes);
  void atomic(void* place, size_t bytes);

 private:
  /// Who wrote a byte of device memory last in this launch.
  struct Writer {
    uint32_t group = 0, epoch = 0, simd_epoch = 0;
    uint16_t thread = 0, simdgroup = 0;
  };
  struct Buffer {
    char* begin;
    size_t bytes;
    bool writable;
    std::string name;
    std::vector<Writer> writers;  ///< empty until something is written
  };
  /// Who used a grain of threadgroup memory. Two readers are enough: of one simdgroup, and of any other.
  struct Use {
    uint32_t group = 0;  ///< of the write; another one: not written yet
    uint32_t write_epoch = 0, write_simd_epoch = 0, read_epoch = 0, read_simd_epoch = 0, other_epoch = 0;
    uint16_t writer = 0, writer_simdgroup = 0, reader = 0, reader_simdgroup = 0;
  };
  struct Array {
    int declaration;
    size_t begin, bytes;
    size_t grain;
    std::string name;
  };

  Buffer* buffer_of(const char* place, size_t bytes, const char* verb);
  const Array& array_of(size_t offset, size_t bytes, const char* verb);
  void use_device(Buffer& buffer, const char* place, size_t bytes, bool writes);
  void use_threadgroup(size_t offset, size_t bytes, bool writes);
  void note_read(const Array& array, size_t offset);
  void note_write(const Array& array, size_t offset);
  [[noreturn]] void fail_race(const Array& array, size_t offset, const char* own, const char* other, uint16_t thread);

  std::vector<Buffer> buffers_;
  std::vector<Array> arrays_;
  std::vector<Use> uses_;
  size_t used_ = 0;
};
extern Memory memory;

}  // namespace simulator
