// SIGINT, SIGTERM and SIGUSR1. One handler for the process; functions are for the main thread.
#pragma once

#include "comm/clock.h"

namespace longspan {

// From now on a signal ends the process with status 128 + its number, also where it was started with signals
// ignored. A closed standard output is reported by the write that meets it, not by SIGPIPE.
void ExitOnInterrupts();

// From now on the first signal is only remembered, so that work can end in order; another one ends the
// process.
void RememberInterrupts();

// The signal that came since RememberInterrupts; 0 for none.
int PendingInterrupt();

// How long what is open may go on after this signal, of a job of so many processes: `timeout`, but where
// mpirun, once it has passed SIGTERM on, is about to kill them.
Clock::Duration DrainTime(int signal, int processes, Clock::Duration timeout);
// Of a program that has ended in order because of this signal.
int ExitCodeAfter(int signal);

}  // namespace longspan
