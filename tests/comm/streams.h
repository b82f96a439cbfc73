// The kinds of stream that the suites run on.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "kernels/cpu/cpu_device.h"
#include "tests/support/deferred_stream.h"

namespace longspan {

enum class StreamKind { kInline, kDeferred };

inline std::string Name(StreamKind kind) { return kind == StreamKind::kInline ? "inline" : "deferred"; }

inline std::unique_ptr<Stream> NewStream(StreamKind kind, int rank) {
  if (kind == StreamKind::kInline) return CpuDevice().NewStream();
  return std::make_unique<DeferredStream>(DeferredStreamOptions{.max_delay = std::chrono::microseconds(100),
                                                                .seed = static_cast<uint64_t>(rank)});
}

}  // namespace longspan
