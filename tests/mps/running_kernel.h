#pragma once
#include <stdint.h>

// What translated kernels ask of the simulator. No containers here: kernels are compiled with calls at every access to
// memory, and a function of theirs could be the copy that the linker keeps for the whole program.
namespace simulator {

/// A parameter as the source declares it: `name [[attribute(index)]]`.
struct Parameter {
  const char* name;
  const char* attribute;
  int index;
};

struct Registration {
  Registration(const char* library, const char* name, const Parameter* parameters, int count, void (*run)());
};

struct Position {
  uint32_t x, y, z;
};
/// A value such as thread_position_in_grid for the running thread.
Position position(const char* attribute);
/// Where the argument of parameter `index` lies.
void* bound(int index);
/// Storage of a threadgroup array, the same for all threads of a group. Its use is noted by `grain` bytes.
void* threadgroup_array(int declaration, unsigned long bytes, unsigned long grain, const char* name);

enum class Scope { simd, group };
void barrier(Scope scope, bool orders_device, bool orders_threadgroup);

constexpr int lanes = 32;
/// What the lanes of a simdgroup hand in and get back.
struct Exchange {
  uint32_t active;  ///< a bit for each lane that takes part
  alignas(16) char in[lanes][64];
  alignas(16) char out[lanes][64];
  bool has(int lane) const { return lane >= 0 && lane < lanes && (active >> lane & 1); }
};
using Combine = void (*)(Exchange&, int detail);
/// Waits until all lanes of the simdgroup that have not ended are here with the same `what`; then `combine` makes every
/// lane's result of what all handed in.
void exchange(const char* what, const void* in, int in_bytes, void* out, int out_bytes, Combine combine,
              int detail = 0);
/// Lane of the running thread in its simdgroup.
int lane();

/// Reports the mistake and ends the launch.
[[noreturn]] void fail(const char* what);
/// Checks an access that other threads may make at the same time.
void check_atomic(void* place, unsigned long bytes);

}  // namespace simulator
