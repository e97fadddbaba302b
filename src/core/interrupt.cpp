#include "xinslm/core/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>

namespace xinslm {
namespace {

static_assert(std::atomic<int>::is_always_lock_free, "only lock-free atomics may be used in a signal handler");
std::atomic<int> pressed{0};
int guards = 0;
struct sigaction earlier {};

void on_interrupt(int) {
  if (pressed.fetch_add(1) > 0) ::_exit(130);  // 128 + SIGINT, as shells report it
}

}  // namespace

InterruptGuard::InterruptGuard() {
  if (guards++ > 0) return;
  pressed = 0;
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  sigemptyset(&action.sa_mask);  // a macro on macOS, which :: does not go before
  // No SA_RESTART: a read from the terminal that Ctrl-C interrupts returns, so its caller can look at the flag.
  ::sigaction(SIGINT, &action, &earlier);
}

InterruptGuard::~InterruptGuard() {
  if (--guards == 0) ::sigaction(SIGINT, &earlier, nullptr);
}

bool InterruptGuard::requested() {
  return pressed > 0;
}
void InterruptGuard::clear() {
  pressed = 0;
}

}  // namespace xinslm
