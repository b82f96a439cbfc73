// Random numbers that are the same everywhere for one seed, unlike those of <random>'s distributions.
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>
#include <random>

namespace longspan::load {

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}

  // In [0, 1).
  double Uniform() { return static_cast<double>(engine_() >> 11) * 0x1p-53; }
  // A whole number from `least` to `most`.
  int64_t Between(int64_t least, int64_t most) {
    return least + static_cast<int64_t>(Uniform() * static_cast<double>(most - least + 1));
  }
  // The time between two arrivals of a Poisson process.
  double Exponential(double rate) { return -std::log1p(-Uniform()) / rate; }
  // Standard normal (Box and Muller 1958).
  double Normal() {
    const double radius = std::sqrt(-2 * std::log1p(-Uniform()));
    return radius * std::cos(2 * std::numbers::pi * Uniform());
  }

 private:
  std::mt19937_64 engine_;
};

// A hash of 64 bits (the finaliser of Steele, Lea and Flood's SplitMix, 2014).
inline uint64_t Mix(uint64_t value) {
  value += 0x9e3779b97f4a7c15;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

}  // namespace longspan::load
