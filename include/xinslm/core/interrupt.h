#pragma once

namespace xinslm {

/// Thrown by InterruptGuard::check(); whoever runs the program ends with InterruptGuard::exit_code().
struct Interrupted {};

/// While one lives, Ctrl-C (SIGINT), SIGTERM and SIGHUP set a flag instead of ending the program, so that work in
/// progress can be finished and saved. Ctrl-C after any of them, before clear(), ends the program at once; the others
/// may come twice (a terminal that closes and its shell both send SIGHUP). SIGHUP stays ignored where it is, as nohup
/// has it. May be nested; the outermost one puts the earlier handlers back.
class InterruptGuard {
 public:
  enum class Signals { all, ctrl_c };

  /// @param signals  ctrl_c where a prompt waits and nothing is to be saved: the others then end the program as usual
  explicit InterruptGuard(Signals signals = Signals::all);
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
  ~InterruptGuard();

  /// Has a signal come since the guard was made or clear() was called?
  static bool requested();
  /// 128 + the signal, as shells report it; 130 for Ctrl-C.
  static int exit_code();
  /// Ctrl-C was dealt with. The others stay: after them the program ends.
  static void clear();
  /// @throws Interrupted when requested()
  static void check();
};

}  // namespace xinslm
