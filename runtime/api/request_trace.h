// GET /v1/requests/ID/trace: where a request was, and when, as Chrome's tracing and Perfetto read it.
// https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU (Trace Event Format)
#pragma once

#include <span>
#include <string>

#include "runtime/coordinator/coordinator.h"

namespace longspan {

// One JSON object. `tickets`: the request's choices; each is a process of the trace, and the coordinator and
// each group a thread of it. Empty when nothing is known of them any more.
std::string RequestTraceBody(const Coordinator& coordinator, std::span<const TicketId> tickets,
                             Clock::Time now);

}  // namespace longspan
