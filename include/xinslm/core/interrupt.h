#pragma once

namespace xinslm {

/// While one lives, Ctrl-C (SIGINT) sets a flag instead of ending the program, so that work in progress can be finished
/// and saved. A second Ctrl-C before clear() ends the program at once with exit code 130. May be nested; the outermost
/// one puts the earlier handler back.
class InterruptGuard {
 public:
  InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
  ~InterruptGuard();

  /// Has Ctrl-C been pressed since the guard was made or clear() was called?
  static bool requested();
  static void clear();
};

}  // namespace xinslm
