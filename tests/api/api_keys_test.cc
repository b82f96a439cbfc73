#include "runtime/api/api_keys.h"

#include "gtest/gtest.h"

namespace longspan {
namespace {

// SHA-256 of "secret".
constexpr char kHash[] = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

TEST(ApiKeysTest, AllowsTheKeysOfTheHashes) {
  const auto keys = ApiKeys::Parse(std::string("# ours\n\n") + kHash + "  first\n", "F");
  ASSERT_TRUE(keys.ok()) << keys.status();
  EXPECT_TRUE(keys->Allows("Bearer secret"));
  EXPECT_TRUE(keys->Allows("bearer secret"));
  for (const char* wrong :
       {"", "secret", "Bearer", "Bearer ", "Bearer secre", "Bearer secrets", "Basic secret", kHash}) {
    EXPECT_FALSE(keys->Allows(wrong)) << wrong;
  }
}

TEST(ApiKeysTest, ErrorsNameTheLineAndNotWhatItHolds) {
  for (const char* text :
       {"secret", "2bb80d", "zzb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"}) {
    const auto keys = ApiKeys::Parse(std::string("\n") + text, "F");
    ASSERT_FALSE(keys.ok());
    EXPECT_EQ(keys.status().message().find("F:2: "), 0);
    EXPECT_EQ(std::string(keys.status().message()).find(text), std::string::npos);
  }
  EXPECT_FALSE(ApiKeys::Parse("# nothing\n", "F").ok());
}

}  // namespace
}  // namespace longspan
