#include "launcher/nearest.h"

#include <gtest/gtest.h>

#include <vector>

namespace longspan {
namespace {

TEST(NearestTest, EditDistanceCountsSingleEdits) {
  EXPECT_EQ(EditDistance("", ""), 0);
  EXPECT_EQ(EditDistance("", "abc"), 3);
  EXPECT_EQ(EditDistance("abc", ""), 3);
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3);
  EXPECT_EQ(EditDistance("prompt", "pormpt"), 1);  // neighbours swapped
  EXPECT_EQ(EditDistance("ca", "abc"), 3);         // a swapped pair is not edited again
  EXPECT_EQ(EditDistance("same", "same"), 0);
}

TEST(NearestTest, PrefersWhatBeginsAlike) {
  const std::vector<std::string> options = {"--kvp", "--kv-bytes", "--kv-dtype", "--threads"};
  EXPECT_EQ(Nearest("--kv-byte", options), "--kv-bytes");
  EXPECT_EQ(Nearest("--kv-d", options), "--kv-dtype");  // --kvp is fewer edits away
  EXPECT_EQ(Nearest("--treads", options), "--threads");
}

TEST(NearestTest, TakesTheFirstOfEquals) {
  const std::vector<std::string> options = {"f32", "f16"};
  EXPECT_EQ(Nearest("xyz", options), "f32");
}

}  // namespace
}  // namespace longspan
