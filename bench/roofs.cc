#include "bench/roofs.h"

#include <sched.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <thread>

#include "kernels/check.h"
#include "kernels/cpu/cpu_device.h"

namespace longspan::bench {
namespace {

struct ArithmeticLoop {
  void (*run)(int64_t iterations) = nullptr;  // null: this processor lacks the instruction
  double operations = 0;                      // of one iteration
};

#if defined(__x86_64__)

constexpr int kAccumulators = 12;  // independent chains: more than two instructions a cycle need

// One instruction on twelve accumulators, over and over. VECTOR is zmm or ymm. The sources hold ordinary
// numbers, since a processor may run faster on zeros.
#define LONGSPAN_ARITHMETIC_LOOP(INSTRUCTION, VECTOR, NUMBERS)                                           \
  [](int64_t iterations) {                                                                               \
    asm volatile(                                                                                        \
        "vmovd %1, %%xmm14\n"                                                                            \
        "vpbroadcastd %%xmm14, %%" VECTOR                                                                \
        "14\n"                                                                                           \
        "vpbroadcastd %%xmm14, %%" VECTOR                                                                \
        "15\n"                                                                                           \
        ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11\n"                                                 \
        "vpxor %%xmm\\i, %%xmm\\i, %%xmm\\i\n"                                                           \
        ".endr\n"                                                                                        \
        ".balign 64\n"                                                                                   \
        "1:\n"                                                                                           \
        ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11\n" INSTRUCTION " %%" VECTOR "14, %%" VECTOR        \
        "15, %%" VECTOR                                                                                  \
        "\\i\n"                                                                                          \
        ".endr\n"                                                                                        \
        "dec %0\n"                                                                                       \
        "jnz 1b\n"                                                                                       \
        "vzeroupper\n"                                                                                   \
        : "+r"(iterations)                                                                               \
        : "r"(NUMBERS)                                                                                   \
        : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", \
          "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");                                                  \
  }

constexpr uint32_t kF32One = 0x3f800000, kBf16Ones = 0x3f803f80, kInt8Ones = 0x01010101;

ArithmeticLoop LoopOf(Roof roof) {
  // Multiply-adds of one instruction, each two operations.
  constexpr double kPerInstruction = 2.0 * kAccumulators;
  const bool avx512 = __builtin_cpu_supports("avx512f");
  switch (roof) {
    case Roof::kInt8Dot:
      if (!avx512 || !__builtin_cpu_supports("avx512vnni")) return {};
      return {LONGSPAN_ARITHMETIC_LOOP("vpdpbusd", "zmm", kInt8Ones), kPerInstruction * 64};
    case Roof::kBf16Dot:
      if (!avx512 || !__builtin_cpu_supports("avx512bf16")) return {};
      return {LONGSPAN_ARITHMETIC_LOOP("vdpbf16ps", "zmm", kBf16Ones), kPerInstruction * 32};
    case Roof::kF32Fma:
      if (avx512) return {LONGSPAN_ARITHMETIC_LOOP("vfmadd231ps", "zmm", kF32One), kPerInstruction * 16};
      if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return {};
      return {LONGSPAN_ARITHMETIC_LOOP("vfmadd231ps", "ymm", kF32One), kPerInstruction * 8};
    case Roof::kRead:
      break;
  }
  return {};
}

#else

ArithmeticLoop LoopOf(Roof) { return {}; }

#endif

// Reads a whole number of `kReadStep * streams` bytes, `streams` places in turn.
constexpr size_t kReadStep = 256;

template <typename Vector>
[[gnu::always_inline]] inline void ReadVectors(const std::byte* data, size_t bytes,
                                               const Roofs::ReadLoop& loop) {
  constexpr size_t kVectors = kReadStep / sizeof(Vector);
  const size_t stream_bytes = bytes / static_cast<size_t>(loop.streams);
  Vector sums[kVectors] = {};
  for (size_t i = 0; i < stream_bytes; i += kReadStep) {
    for (const std::byte* at = data + i; at < data + bytes; at += stream_bytes) {
      if (loop.prefetch_bytes > 0) {
        for (size_t line = 0; line < kReadStep; line += 64)
          __builtin_prefetch(at + loop.prefetch_bytes + line);
      }
#pragma GCC unroll 16
      for (size_t v = 0; v < kVectors; ++v) sums[v] ^= reinterpret_cast<const Vector*>(at)[v];
    }
  }
  for (Vector& sum : sums) asm volatile("" ::"m"(sum));
}

using Vector16 = uint64_t __attribute__((vector_size(16), may_alias));
void ReadBaseline(const std::byte* data, size_t bytes, const Roofs::ReadLoop& loop) {
  ReadVectors<Vector16>(data, bytes, loop);
}

#if defined(__x86_64__)
using Vector64 = uint64_t __attribute__((vector_size(64), may_alias));
[[gnu::target("avx512f")]] void ReadAvx512(const std::byte* data, size_t bytes, const Roofs::ReadLoop& loop) {
  ReadVectors<Vector64>(data, bytes, loop);
}
#endif

void ReadBytes(const std::byte* data, size_t bytes, const Roofs::ReadLoop& loop) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return ReadAvx512(data, bytes, loop);
#endif
  ReadBaseline(data, bytes, loop);
}

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

const RoofTraits& Traits(Roof roof) {
  static constexpr RoofTraits kTraits[] = {
      {"int8 dot", "GOP/s"}, {"bf16 dot", "GFLOP/s"}, {"f32 FMA", "GFLOP/s"}, {"read", "GB/s"}};
  return kTraits[static_cast<size_t>(roof)];
}

std::vector<Roof> RoofsOf(DType weights) {
  if (IsBlockFormat(weights)) return {Roof::kInt8Dot};
  if (weights == DType::kF32) return {Roof::kF32Fma};
  return {Roof::kF32Fma, Roof::kBf16Dot};
}

std::vector<int> AvailableCpus() {
  cpu_set_t set;
  LONGSPAN_CHECK(sched_getaffinity(0, sizeof set, &set) == 0);
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  }
  return cpus;
}

void BindToCpus(const std::vector<int>& cpus) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (int cpu : cpus) CPU_SET(cpu, &set);
  LONGSPAN_CHECK(sched_setaffinity(0, sizeof set, &set) == 0);
}

Roofs::Roofs(std::vector<int> cpus) : cpus_(std::move(cpus)) {}

// Seconds from the first thread's start to the last one's end.
double Roofs::TimeTogether(int threads, const std::function<void(int)>& body) const {
  LONGSPAN_CHECK(threads <= static_cast<int>(cpus_.size()));
  const size_t count = static_cast<size_t>(threads);
  std::barrier barrier(threads);
  std::vector<double> begins(count), ends(count);
  std::vector<std::thread> workers;
  for (size_t t = 0; t < count; ++t) {
    workers.emplace_back([&, t] {
      BindToCpus({cpus_[t]});
      barrier.arrive_and_wait();
      begins[t] = Now();
      body(static_cast<int>(t));
      ends[t] = Now();
    });
  }
  for (std::thread& worker : workers) worker.join();
  return *std::max_element(ends.begin(), ends.end()) - *std::min_element(begins.begin(), begins.end());
}

double Roofs::Arithmetic(Roof roof, int threads) {
  constexpr int64_t kIterations = int64_t{1} << 19;  // one or two milliseconds
  constexpr int kTries = 3;                          // the best, lest an interruption lower the roof
  const ArithmeticLoop loop = LoopOf(roof);
  if (loop.run == nullptr) return 0;
  double rate = 0;
  for (int i = 0; i < kTries; ++i) {
    const double seconds = TimeTogether(threads, [&](int) { loop.run(kIterations); });
    rate = std::max(rate, threads * static_cast<double>(kIterations) * loop.operations / seconds);
  }
  return rate;
}

double Roofs::ReadOnce(size_t bytes, int threads, const ReadLoop& loop) {
  if (buffer_.bytes() < bytes) {
    auto buffer = CpuDevice().Allocate(bytes);
    LONGSPAN_CHECK(buffer.ok());
    buffer_ = *std::move(buffer);
    std::fill_n(buffer_.data(), bytes, std::byte{1});  // pages never written share one page of zeros
  }
  const size_t unit = kReadStep * static_cast<size_t>(loop.streams);
  const size_t part = bytes / static_cast<size_t>(threads) / unit * unit;
  const double seconds = TimeTogether(threads, [&](int thread) {
    ReadBytes(buffer_.data() + part * static_cast<size_t>(thread), part, loop);
  });
  return static_cast<double>(part) * threads / seconds;
}

Roofs::ReadLoop Roofs::BestReadLoop(size_t bytes, int threads) {
  constexpr int kRounds = 3;
  const auto found = best_loops_.find({bytes, threads});
  if (found != best_loops_.end()) return found->second;
  std::vector<ReadLoop> loops;
  for (int streams : {1, 4}) {
    for (size_t prefetch_bytes : {0, 1024, 2048, 4096, 8192}) loops.push_back({streams, prefetch_bytes});
  }
  std::vector<std::vector<double>> rates(loops.size());
  for (int round = 0; round < kRounds; ++round) {
    for (size_t i = 0; i < loops.size(); ++i) rates[i].push_back(ReadOnce(bytes, threads, loops[i]));
  }
  size_t best = 0;
  for (size_t i = 0; i < loops.size(); ++i) {
    std::sort(rates[i].begin(), rates[i].end());
    if (rates[i][kRounds / 2] > rates[best][kRounds / 2]) best = i;
  }
  return best_loops_[{bytes, threads}] = loops[best];
}

double Roofs::Read(size_t bytes, int threads) {
  LONGSPAN_CHECK(bytes <= kLargestRead);
  const ReadLoop loop = BestReadLoop(bytes, threads);
  ReadOnce(bytes, threads, loop);  // leaves in the caches what reading over and over leaves there
  return ReadOnce(bytes, threads, loop);
}

}  // namespace longspan::bench
