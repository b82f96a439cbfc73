// Whether denormal numbers are treated as zero.
#pragma once

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace longspan {

// Sets it for the calling thread while in scope.
class DenormalMode {
 public:
#if defined(__x86_64__)
  explicit DenormalMode(bool flush) : saved_(_mm_getcsr()) {
    _mm_setcsr(flush ? saved_ | kFlags : saved_ & ~kFlags);
  }
  ~DenormalMode() { _mm_setcsr(saved_); }
#else
  explicit DenormalMode(bool) {}
  ~DenormalMode() {}
#endif
  DenormalMode(const DenormalMode&) = delete;
  DenormalMode& operator=(const DenormalMode&) = delete;

 private:
#if defined(__x86_64__)
  static constexpr unsigned kFlushToZero = 0x8000, kDenormalsAreZero = 0x0040;
  static constexpr unsigned kFlags = kFlushToZero | kDenormalsAreZero;
  unsigned saved_;
#endif
};

// Arithmetic with denormals is many times slower, and every rank must treat them alike for equal bits.
class FlushDenormals : DenormalMode {
 public:
  FlushDenormals() : DenormalMode(true) {}
};

// The mode that code outside the operations expects.
class KeepDenormals : DenormalMode {
 public:
  KeepDenormals() : DenormalMode(false) {}
};

}  // namespace longspan
