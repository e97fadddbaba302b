#include "xinslm/core/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>

namespace xinslm {
namespace {

static_assert(std::atomic<int>::is_always_lock_free, "only lock-free atomics may be used in a signal handler");

constexpr std::array signals{SIGINT, SIGTERM, SIGHUP};
std::atomic<int> received{0};  // the first signal since clear(); one that ends the program takes the place of Ctrl-C
std::array<struct sigaction, signals.size()> earlier{};
int guards = 0;

void on_signal(int signal) {
  const int before = received;
  if (signal == SIGINT && before != 0) ::_exit(128 + before);
  if (before == 0 || before == SIGINT) received = signal;
}

}  // namespace

InterruptGuard::InterruptGuard(Signals wanted) {
  if (guards++ > 0) return;
  received = 0;
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);  // a macro on macOS, which :: does not go before
  // No SA_RESTART: a read from the terminal that Ctrl-C interrupts returns, so its caller can look at the flag.
  for (size_t i = 0; i < signals.size(); ++i) {
    ::sigaction(signals[i], nullptr, &earlier[i]);
    if (signals[i] == SIGHUP && earlier[i].sa_handler == SIG_IGN) continue;
    if (signals[i] != SIGINT && wanted == Signals::ctrl_c) continue;
    ::sigaction(signals[i], &action, nullptr);
  }
}

InterruptGuard::~InterruptGuard() {
  if (--guards > 0) return;
  for (size_t i = 0; i < signals.size(); ++i) ::sigaction(signals[i], &earlier[i], nullptr);
}

bool InterruptGuard::requested() {
  return received != 0;
}
int InterruptGuard::exit_code() {
  return 128 + received;
}
void InterruptGuard::clear() {
  int ctrl_c = SIGINT;
  received.compare_exchange_strong(ctrl_c, 0);
}
void InterruptGuard::check() {
  if (requested()) throw Interrupted();
}

}  // namespace xinslm
