#include "mps/simulator.h"

#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <stdexcept>

#include "mps/memory.h"
#include "mps/source_line.h"

namespace simulator {
namespace {

constexpr size_t group_limit = 1024;

std::map<std::pair<std::string, std::string>, Kernel>& kernels() {
  static std::map<std::pair<std::string, std::string>, Kernel> all;
  return all;
}

enum class State { ready, in_exchange, at_simd_barrier, at_barrier, done };

struct Thread {
  State state = State::ready;
  bool has_started = false;
  jmp_buf context;
  const char* what = "";  ///< what it waits in
};

struct Simdgroup {
  int first = 0, size = 0;
  uint32_t epoch = 0, device_epoch = 0;
  Exchange exchange;
  Combine combine = nullptr;
  int detail = 0;
};

struct Barrier {
  bool orders_device = false, orders_threadgroup = false;
};

// One launch runs at a time, on one thread of the host; its state is here so that kernels can ask.
const Kernel* kernel;
std::vector<void*> bindings;  // by parameter
std::vector<int64_t> integers;
Size3 grid, group_size, group_place, group_count, full_group;
std::vector<Thread> threads;
std::vector<Simdgroup> simdgroups;
int current;
uint32_t epoch, device_epoch, groups_run;
Barrier pending;
jmp_buf scheduler;
std::string failure;
char* stacks;

char* stack_of(int thread) {
  return stacks + thread * stack_bytes;
}

Simdgroup& own_simdgroup() {
  return simdgroups[current / lanes];
}

std::string place_of(int thread) {
  const uint64_t x = thread % group_size.x, y = thread / group_size.x % group_size.y,
                 z = thread / (group_size.x * group_size.y);
  const auto triple = [](uint64_t a, uint64_t b, uint64_t c) {
    return "(" + std::to_string(a) + ", " + std::to_string(b) + ", " + std::to_string(c) + ")";
  };
  return "thread " + triple(x, y, z) + " of group " + triple(group_place.x, group_place.y, group_place.z);
}

std::string kernel_name() {
  return "Metal kernel " + kernel->library + "/" + kernel->name;
}

/// Back to the scheduler, until it resumes this thread.
void yield(State state) {
  threads[current].state = state;
  running.instruction = nullptr;
  if (_setjmp(threads[current].context) == 0) _longjmp(scheduler, 1);
}

void run_thread() {
  kernel->run();
  threads[current].state = State::done;
  _longjmp(scheduler, 1);
}

void resume(int thread) {
  current = thread;
  Thread& t = threads[thread];
  t.state = State::ready;
  const Simdgroup& s = own_simdgroup();
  running = {nullptr,
             stack_of(thread),
             groups_run,
             static_cast<uint16_t>(thread),
             static_cast<uint16_t>(thread / lanes),
             epoch,
             s.epoch,
             device_epoch,
             s.device_epoch};
  if (_setjmp(scheduler) != 0) {
    is_running = false;
    return;
  }
  is_running = true;
  if (t.has_started) _longjmp(t.context, 1);
  t.has_started = true;
  ucontext_t context;
  getcontext(&context);
  context.uc_stack.ss_sp = stack_of(thread);
  context.uc_stack.ss_size = stack_bytes;
  context.uc_link = nullptr;
  makecontext(&context, run_thread, 0);
  setcontext(&context);
}

[[noreturn]] void stop(int thread, const std::string& what) {
  throw std::runtime_error(kernel_name() + ", " + place_of(thread) + ": " + what + source_line(running.instruction));
}

void stop_if_failed() {
  if (failure.empty()) return;
  std::string what;
  what.swap(failure);
  stop(current, what);
}

bool waits_in_simdgroup(State state) {
  return state == State::in_exchange || state == State::at_simd_barrier;
}

/// All threads of the simdgroup have run as far as they get alone; lets them go on if they wait for each other.
bool release(Simdgroup& s) {
  const auto first = threads.begin() + s.first, last = first + s.size;
  const auto waiting = std::find_if(first, last, [](const Thread& t) { return waits_in_simdgroup(t.state); });
  if (waiting == last) return false;
  for (auto t = first; t != last; ++t) {
    if (t->state == State::done) continue;
    if (t->state != waiting->state || std::strcmp(t->what, waiting->what) != 0) {
      stop(int(t - threads.begin()), "takes another way than the rest of its simdgroup, where " +
                                         std::string(waiting->what) + " needs all threads");
    }
  }
  if (waiting->state == State::in_exchange) {
    s.exchange.active = 0;
    for (int i = 0; i < s.size; ++i) s.exchange.active |= uint32_t(first[i].state == State::in_exchange) << i;
    current = int(waiting - threads.begin());
    s.combine(s.exchange, s.detail);
  } else {
    if (pending.orders_threadgroup) ++s.epoch;
    if (pending.orders_device) ++s.device_epoch;
  }
  for (auto t = first; t != last; ++t) {
    if (t->state != State::done) t->state = State::ready;
  }
  return true;
}

void run_simdgroup(Simdgroup& s) {
  do {
    for (int i = s.first; i < s.first + s.size; ++i) {
      if (threads[i].state == State::ready) resume(i);
      stop_if_failed();
    }
  } while (release(s));
}

void run_group() {
  const int count = int(group_size.x * group_size.y * group_size.z);
  threads.assign(count, Thread{});
  simdgroups.resize((count + lanes - 1) / lanes);
  for (size_t s = 0; s < simdgroups.size(); ++s) {
    simdgroups[s].first = int(s) * lanes;
    simdgroups[s].size = std::min(lanes, count - simdgroups[s].first);
  }
  ++groups_run, ++epoch, ++device_epoch;
  memory.begin_group();
  for (;;) {
    for (Simdgroup& s : simdgroups) run_simdgroup(s);
    const auto is_done = [](const Thread& t) { return t.state == State::done; };
    const auto done = std::count_if(threads.begin(), threads.end(), is_done);
    if (done == count) return;
    if (done > 0) {
      stop(int(std::find_if(threads.begin(), threads.end(), is_done) - threads.begin()),
           "ended while other threads of its group wait at a barrier");
    }
    if (pending.orders_threadgroup) ++epoch;
    if (pending.orders_device) ++device_epoch;
    for (Thread& t : threads) t.state = State::ready;
  }
}

[[noreturn]] void refuse(const std::string& what) {
  throw std::runtime_error(kernel_name() + ": " + what);
}

void bind(const std::vector<Argument>& arguments) {
  memory.begin_launch();
  bindings.assign(kernel->parameters.size(), nullptr);
  integers.assign(kernel->parameters.size(), 0);
  std::vector<bool> is_used(arguments.size());
  for (size_t p = 0; p < kernel->parameters.size(); ++p) {
    const Parameter& parameter = kernel->parameters[p];
    if (std::string_view(parameter.attribute) != "buffer") continue;
    const std::string name = "buffer " + std::to_string(parameter.index) + " (" + parameter.name + ")";
    if (parameter.index >= int(arguments.size()) || arguments[parameter.index].kind == Argument::none) {
      refuse(name + " has no argument");
    }
    const Argument& argument = arguments[parameter.index];
    is_used[parameter.index] = true;
    if (argument.kind == Argument::integer) {
      integers[p] = argument.value;
      bindings[p] = &integers[p];
      memory.add_buffer(bindings[p], sizeof(int64_t), false, name);
    } else {
      bindings[p] = argument.begin;
      memory.add_buffer(argument.begin, argument.bytes, true, name);
    }
  }
  const auto unused = std::find(is_used.begin(), is_used.end(), false);
  if (unused != is_used.end()) refuse("argument " + std::to_string(unused - is_used.begin()) + " has no parameter");
}

}  // namespace

Registration::Registration(const char* library, const char* name, const Parameter* parameters, int count,
                           void (*run)()) {
  kernels()[{library, name}] = {library, name, {parameters, parameters + count}, run};
}

const Kernel* find_kernel(const std::string& library, const std::string& name) {
  const auto found = kernels().find({library, name});
  return found == kernels().end() ? nullptr : &found->second;
}

bool has_library(const std::string& library) {
  const auto found = kernels().lower_bound({library, ""});
  return found != kernels().end() && found->first.first == library;
}

void launch(const Kernel& what, const std::vector<Argument>& arguments, Size3 threads_in_grid, Size3 group) {
  kernel = &what;
  if (threads_in_grid.x * threads_in_grid.y * threads_in_grid.z == 0) refuse("the grid has no threads");
  if (group.x * group.y * group.z == 0 || group.x * group.y * group.z > group_limit) {
    refuse("a group of " + std::to_string(group.x) + " x " + std::to_string(group.y) + " x " + std::to_string(group.z) +
           " threads; 1 to 1024 are possible");
  }
  if (!stacks) {
    void* space = mmap(nullptr, group_limit * stack_bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (space == MAP_FAILED) refuse("no memory for the stacks of its threads");
    stacks = static_cast<char*>(space);
  }
  bind(arguments);
  grid = threads_in_grid, full_group = group;
  const auto parts = [](uint64_t whole, uint64_t part) { return (whole + part - 1) / part; };
  group_count = {parts(grid.x, group.x), parts(grid.y, group.y), parts(grid.z, group.z)};
  groups_run = 0;
  for (uint64_t z = 0; z < group_count.z; ++z) {
    for (uint64_t y = 0; y < group_count.y; ++y) {
      for (uint64_t x = 0; x < group_count.x; ++x) {
        group_place = {x, y, z};
        group_size = {std::min(group.x, grid.x - x * group.x), std::min(group.y, grid.y - y * group.y),
                      std::min(group.z, grid.z - z * group.z)};
        run_group();
      }
    }
  }
}

void fail(const std::string& what) {
  if (!is_running) stop(current, what);
  failure = what;
  _longjmp(scheduler, 1);
}

Position position(const char* attribute) {
  const std::string_view name = attribute;
  const auto narrow = [](const Size3& s) { return Position{uint32_t(s.x), uint32_t(s.y), uint32_t(s.z)}; };
  const auto index = uint32_t(current);
  const Position own{uint32_t(index % group_size.x), uint32_t(index / group_size.x % group_size.y),
                     uint32_t(index / (group_size.x * group_size.y))};
  if (name == "thread_position_in_threadgroup") return own;
  if (name == "thread_position_in_grid") {
    return {uint32_t(group_place.x * full_group.x + own.x), uint32_t(group_place.y * full_group.y + own.y),
            uint32_t(group_place.z * full_group.z + own.z)};
  }
  if (name == "threadgroup_position_in_grid") return narrow(group_place);
  if (name == "threadgroups_per_grid") return narrow(group_count);
  if (name == "threads_per_grid") return narrow(grid);
  if (name == "threads_per_threadgroup") return narrow(group_size);
  if (name == "dispatch_threads_per_threadgroup") return narrow(full_group);
  if (name == "thread_index_in_threadgroup") return {index, 0, 0};
  if (name == "thread_index_in_simdgroup") return {index % lanes, 0, 0};
  if (name == "simdgroup_index_in_threadgroup") return {index / lanes, 0, 0};
  if (name == "simdgroups_per_threadgroup") return {uint32_t(simdgroups.size()), 0, 0};
  if (name == "threads_per_simdgroup") return {uint32_t(lanes), 0, 0};
  fail("has a parameter [[" + std::string(name) + "]], which the simulator does not know");
}

void fail(const char* what) {
  fail(std::string(what));
}

void* bound(int index) {
  return bindings[index];
}

void* threadgroup_array(int declaration, unsigned long bytes, unsigned long grain, const char* name) {
  return memory.threadgroup_array(declaration, bytes, grain, name);
}

void barrier(Scope scope, bool orders_device, bool orders_threadgroup) {
  pending = {orders_device, orders_threadgroup};
  threads[current].what = scope == Scope::simd ? "simdgroup_barrier" : "threadgroup_barrier";
  yield(scope == Scope::simd ? State::at_simd_barrier : State::at_barrier);
}

void exchange(const char* what, const void* in, int in_bytes, void* out, int out_bytes, Combine combine, int detail) {
  Simdgroup& s = own_simdgroup();
  std::memcpy(s.exchange.in[current % lanes], in, in_bytes);
  s.combine = combine, s.detail = detail;
  threads[current].what = what;
  yield(State::in_exchange);
  std::memcpy(out, s.exchange.out[current % lanes], out_bytes);
}

int lane() {
  return current % lanes;
}

void check_atomic(void* place, unsigned long bytes) {
  memory.atomic(place, bytes);
}

}  // namespace simulator
