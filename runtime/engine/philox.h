// Philox4x32-10: random numbers that are a function of a key and a counter (Salmon, Moraes, Dror, Shaw:
// "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
//
// A generator without state: the number for a token can be had on any rank, in any order, again.
#pragma once

#include <array>
#include <cstdint>

namespace longspan {

using PhiloxCounter = std::array<uint32_t, 4>;
using PhiloxKey = std::array<uint32_t, 2>;

constexpr PhiloxCounter Philox4x32(PhiloxCounter counter, PhiloxKey key) {
  constexpr int kRounds = 10;
  for (int round = 0; round < kRounds; ++round) {
    const uint64_t product0 = uint64_t{0xD2511F53} * counter[0];
    const uint64_t product1 = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(product1),
               static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(product0)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

// What random numbers are for; each purpose has numbers of its own.
enum class RandomStream : uint32_t { kTokens = 0, kSeeds = 1 };

// 64 random bits of a 64-bit key and a 64-bit counter.
constexpr uint64_t PhiloxBits(uint64_t key, uint64_t counter, RandomStream stream) {
  const PhiloxCounter words =
      Philox4x32({static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32),
                  static_cast<uint32_t>(stream), 0},
                 {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)});
  return uint64_t{words[1]} << 32 | words[0];
}

}  // namespace longspan
