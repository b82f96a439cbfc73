#include "launcher/interrupts.h"

#include <signal.h>
#include <unistd.h>

namespace longspan {
namespace {

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

}  // namespace longspan
