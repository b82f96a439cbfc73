// What faults are drawn from: numbers that depend on a seed and on what is asked, and on nothing before.
#pragma once

#include <cstdint>

namespace longspan {

// A well-mixed function of its arguments: the splitmix64 finaliser (Steele, Lea, Flood: Fast Splittable
// Pseudorandom Number Generators, 2014), applied to each in turn.
inline uint64_t Draw(uint64_t seed, uint64_t purpose, uint64_t number) {
  uint64_t state = seed;
  for (const uint64_t value : {purpose, number}) {
    state += value + 0x9e3779b97f4a7c15;
    state = (state ^ (state >> 30)) * 0xbf58476d1ce4e5b9;
    state = (state ^ (state >> 27)) * 0x94d049bb133111eb;
    state ^= state >> 31;
  }
  return state;
}

// In [0, 1): the upper 53 bits.
inline double DrawFraction(uint64_t seed, uint64_t purpose, uint64_t number) {
  return static_cast<double>(Draw(seed, purpose, number) >> 11) * 0x1p-53;
}

}  // namespace longspan
