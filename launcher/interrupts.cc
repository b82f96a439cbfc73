#include "launcher/interrupts.h"

#include <signal.h>
#include <unistd.h>

#include <chrono>

namespace longspan {
namespace {

// In which mpirun lets a rank end after SIGTERM, with a margin.
constexpr std::chrono::milliseconds kQuickDrain{300};

volatile sig_atomic_t remember = 0;
volatile sig_atomic_t pending = 0;

void OnSignal(int number) {
  if (remember == 0 || pending != 0) _exit(128 + number);
  pending = number;
}

}  // namespace

void ExitOnInterrupts() {
  struct sigaction action = {};
  action.sa_handler = OnSignal;
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGUSR1, &action, nullptr);
  action.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &action, nullptr);
}

void RememberInterrupts() { remember = 1; }

int PendingInterrupt() { return pending; }

Clock::Duration DrainTime(int signal, int processes, Clock::Duration timeout) {
  return signal == SIGTERM && processes > 1 ? Clock::Duration(kQuickDrain) : timeout;
}

int ExitCodeAfter(int signal) { return signal == SIGINT ? 128 + SIGINT : 0; }

}  // namespace longspan
