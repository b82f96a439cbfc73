#include "kvstore/block_hash.h"

#include <algorithm>
#include <bit>

#include "kernels/check.h"
#include "kvstore/xxh3.h"

namespace longspan {
namespace {

// Integers are hashed as little-endian bytes.
static_assert(std::endian::native == std::endian::little);

void AddNumber(Xxh3& hash, uint64_t number) { hash.Add(std::as_bytes(std::span(&number, 1))); }

BlockHash Finish(const Xxh3& hash) {
  const auto [low, high] = hash.Digest();
  return {low, high};
}

}  // namespace

BlockHash HashRoot(std::string_view model, std::string_view tenant_salt) {
  Xxh3 hash;
  // With their lengths, so that no two pairs run together into the same bytes.
  for (const std::string_view text : {model, tenant_salt}) {
    AddNumber(hash, text.size());
    hash.Add(std::as_bytes(std::span(text)));
  }
  return Finish(hash);
}

BlockHash HashBlock(const BlockHash& previous, std::span<const int32_t> tokens) {
  Xxh3 hash;
  AddNumber(hash, previous.low);
  AddNumber(hash, previous.high);
  AddNumber(hash, tokens.size());
  hash.Add(std::as_bytes(tokens));
  return Finish(hash);
}

std::vector<BlockHash> HashBlocks(const BlockHash& root, std::span<const int32_t> tokens, int block_size) {
  LONGSPAN_CHECK(block_size >= 1);
  std::vector<BlockHash> hashes;
  BlockHash previous = root;
  while (!tokens.empty()) {
    const size_t count = std::min(tokens.size(), static_cast<size_t>(block_size));
    previous = HashBlock(previous, tokens.first(count));
    hashes.push_back(previous);
    tokens = tokens.subspan(count);
  }
  return hashes;
}

}  // namespace longspan
