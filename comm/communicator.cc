#include "comm/communicator.h"

#include <numeric>

namespace longspan {

std::string_view Name(CommOp op) {
  switch (op) {
    case CommOp::kAllGather:
      return "all-gather";
    case CommOp::kAllToAll:
      return "all-to-all";
    case CommOp::kGather:
      return "gather";
    case CommOp::kBroadcast:
      return "broadcast";
    case CommOp::kBarrier:
      return "barrier";
  }
  return "unknown operation";
}

void CommCounters::Count(CommOp op, uint64_t sent_bytes) {
  bytes[static_cast<size_t>(op)] += sent_bytes;
  ++operations[static_cast<size_t>(op)];
}

CommCounters& CommCounters::operator+=(const CommCounters& other) {
  for (size_t op = 0; op < bytes.size(); ++op) {
    bytes[op] += other.bytes[op];
    operations[op] += other.operations[op];
    seconds[op] += other.seconds[op];
  }
  return *this;
}

uint64_t CommCounters::TotalBytes() const { return std::accumulate(bytes.begin(), bytes.end(), uint64_t{0}); }

uint64_t CommCounters::TotalOperations() const {
  return std::accumulate(operations.begin(), operations.end(), uint64_t{0});
}

double CommCounters::TotalSeconds() const { return std::accumulate(seconds.begin(), seconds.end(), 0.0); }

}  // namespace longspan
