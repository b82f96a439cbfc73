// What a block of KV was computed from, as 128 bits: the model and its numerics, the tenant, and all tokens
// up to the block's end.
//
// Each hash covers the one before it, so equal hashes mean equal prefixes. XXH3-128
// (https://github.com/Cyan4973/xxHash) tells apart what chance makes; it is no defence against somebody who
// seeks a collision, so whatever shares blocks between requests compares their tokens too.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace longspan {

struct BlockHash {
  uint64_t low = 0;
  uint64_t high = 0;
  bool operator==(const BlockHash&) const = default;
};

// What the hash of a sequence's first block covers as the one before it. `model` says all that decides the
// bytes of KV beside the tokens: the fingerprint of the weights and the numerics. `tenant_salt` keeps tenants
// apart; empty is a salt like any other.
BlockHash HashRoot(std::string_view model, std::string_view tenant_salt);

// The hash of a block after `previous`, of its tokens and their number: an unfilled block is another than the
// full one.
BlockHash HashBlock(const BlockHash& previous, std::span<const int32_t> tokens);

// [BlocksFor(tokens.size(), block_size)]: the hashes of a sequence's blocks; of the last one as far as it is
// filled.
std::vector<BlockHash> HashBlocks(const BlockHash& root, std::span<const int32_t> tokens, int block_size);

}  // namespace longspan
