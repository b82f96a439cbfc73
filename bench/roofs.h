// What bounds a computation on this machine, measured: arithmetic in tight register loops, and memory read.
//
// Each measurement takes some milliseconds, so that it can be repeated beside what it bounds. Threads: one
// thread at a time.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/device.h"
#include "kernels/dtype.h"

namespace longspan::bench {

enum class Roof {
  kInt8Dot,  // vpdpbusd, 512 bits
  kBf16Dot,  // vdpbf16ps, 512 bits
  kF32Fma,   // vfmadd231ps, 512 bits, or 256 without AVX-512
  kRead,     // memory
};

struct RoofTraits {
  std::string_view name;
  std::string_view unit;  // a rate, in 10^9 a second
};
const RoofTraits& Traits(Roof roof);

// The roofs of products with weights of this format: any of them may be used.
std::vector<Roof> RoofsOf(DType weights);

class Roofs {
 public:
  // Threads are bound to these CPUs, the first ones first; as many as the largest number of threads.
  explicit Roofs(std::vector<int> cpus);

  // Operations a second of `threads` threads, a multiply-add counting as two; 0 when this processor lacks the
  // instruction. Not for kRead.
  double Arithmetic(Roof roof, int threads);

  // Bytes a second that `threads` threads read, a part each, when a buffer of so many bytes is read over and
  // over: the best loop (below) for that size and number of threads, found on the first call. At most
  // kLargestRead.
  double Read(size_t bytes, int threads);
  static constexpr size_t kLargestRead = 1'200'000'000;

  // Loops over memory differ in the number of places read at once and in how far ahead they prefetch.
  struct ReadLoop {
    int streams = 1;
    size_t prefetch_bytes = 0;  // 0: no software prefetch
  };
  // The loop that Read uses.
  ReadLoop BestReadLoop(size_t bytes, int threads);

 private:
  double TimeTogether(int threads, const std::function<void(int)>& body) const;
  double ReadOnce(size_t bytes, int threads, const ReadLoop& loop);

  const std::vector<int> cpus_;
  DeviceBuffer buffer_;  // on huge pages; as large as the largest read so far
  std::map<std::pair<size_t, int>, ReadLoop> best_loops_;
};

// The CPUs that this process may run on, ascending.
std::vector<int> AvailableCpus();

// Lets the calling thread, and threads that it makes from now on, run on these CPUs alone.
void BindToCpus(const std::vector<int>& cpus);

}  // namespace longspan::bench
