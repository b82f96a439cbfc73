#include "kvstore/block_hash.h"

#include <numeric>
#include <vector>

#include "gtest/gtest.h"

namespace longspan {
namespace {

TEST(BlockHashTest, IsWhatOtherBuildsAndVersionsComputed) {
  // Written down once: hashes outlive the process, and both ends of a handoff must agree.
  const BlockHash root = HashRoot("model", "salt");
  EXPECT_EQ(root, (BlockHash{0x84511a3098b1335e, 0xa8a02d7476001e00}));
  EXPECT_EQ(HashBlock(root, std::vector<int32_t>{1, -2, 3}),
            (BlockHash{0x566c931313cba9f6, 0xfb5e97ecb66acc62}));
}

TEST(BlockHashTest, CoversEverythingBeforeTheBlocksEnd) {
  std::vector<int32_t> tokens(10);
  std::iota(tokens.begin(), tokens.end(), 100);
  const BlockHash root = HashRoot("model", "salt");
  const std::vector<BlockHash> hashes = HashBlocks(root, tokens, 4);
  ASSERT_EQ(hashes.size(), 3u);
  for (size_t changed = 0; changed < tokens.size(); ++changed) {
    std::vector<int32_t> others = tokens;
    ++others[changed];
    const std::vector<BlockHash> other_hashes = HashBlocks(root, others, 4);
    for (size_t b = 0; b < hashes.size(); ++b) EXPECT_EQ(hashes[b] == other_hashes[b], b < changed / 4);
  }
  for (const BlockHash& other :
       {HashRoot("model", "other"), HashRoot("other", "salt"), HashRoot("models", "alt")}) {
    EXPECT_NE(HashBlocks(other, tokens, 4)[0], hashes[0]);
  }
}

TEST(BlockHashTest, AnUnfilledBlockIsAnotherThanTheFullOne) {
  const std::vector<int32_t> tokens = {0, 0, 0, 0};
  const BlockHash root = HashRoot("model", "");
  const BlockHash full = HashBlocks(root, tokens, 4)[0];
  EXPECT_NE(HashBlocks(root, std::span(tokens).first(3), 4)[0], full);
  // However blocks are cut, hashes of the same prefix differ: the KV lies otherwise.
  EXPECT_NE(HashBlocks(root, tokens, 2)[1], full);
  EXPECT_TRUE(HashBlocks(root, {}, 4).empty());
}

}  // namespace
}  // namespace longspan
