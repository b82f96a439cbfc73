// Seeded random inputs: the same on every machine, unlike the distributions of the standard library.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace longspan {

class RandomValues {
 public:
  explicit RandomValues(uint64_t seed) : state_(seed) {}

  // splitmix64 (Steele, Lea, Flood 2014)
  uint64_t Bits() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  // In [0, count).
  int64_t Below(int64_t count) { return static_cast<int64_t>(Bits() % static_cast<uint64_t>(count)); }
  // In [-1, 1).
  float Signed() { return static_cast<float>(static_cast<int64_t>(Bits() >> 40) - (1 << 23)) * 0x1p-23f; }

  std::vector<float> Floats(int64_t count, float scale = 1) {
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = scale * Signed();
    return values;
  }
  std::vector<int32_t> Permutation(int32_t count) {
    std::vector<int32_t> values(static_cast<size_t>(count));
    for (int32_t i = 0; i < count; ++i) values[static_cast<size_t>(i)] = i;
    for (int32_t i = count - 1; i > 0; --i)
      std::swap(values[static_cast<size_t>(i)], values[static_cast<size_t>(Below(i + 1))]);
    return values;
  }

 private:
  uint64_t state_;
};

}  // namespace longspan
