// XXH3-128 (https://github.com/Cyan4973/xxHash) of bytes that come in parts.
#pragma once

#include <xxhash.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "kernels/check.h"

namespace longspan {

class Xxh3 {
 public:
  Xxh3() : state_(XXH3_createState()) { LONGSPAN_CHECK(XXH3_128bits_reset(state_.get()) == XXH_OK); }

  void Add(std::span<const std::byte> bytes) {
    LONGSPAN_CHECK(XXH3_128bits_update(state_.get(), bytes.data(), bytes.size()) == XXH_OK);
  }
  // Of all that was added: the low 64 bits, then the high ones.
  std::array<uint64_t, 2> Digest() const {
    const XXH128_hash_t hash = XXH3_128bits_digest(state_.get());
    return {hash.low64, hash.high64};
  }

 private:
  struct Free {
    void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
  };
  std::unique_ptr<XXH3_state_t, Free> state_;
};

}  // namespace longspan
