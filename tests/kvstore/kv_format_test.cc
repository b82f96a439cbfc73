#include "kvstore/kv_format.h"

#include "gtest/gtest.h"

namespace longspan {
namespace {

TEST(KvFormatTest, NamesAreReadAndWritten) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const absl::StatusOr<DType> parsed = ParseKvDType(KvDTypeName(dtype));
    ASSERT_TRUE(parsed.ok());
    EXPECT_EQ(*parsed, dtype);
  }
  EXPECT_EQ(KvDTypeName(DType::kBF16), "bf16");
}

TEST(KvFormatTest, AnUnknownNameIsRefusedWithTheChoices) {
  const absl::Status status = ParseKvDType("fp4").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "unknown KV type 'fp4': use f32 or bf16");
}

TEST(KvFormatTest, PagesHoldTheLayersThatDivideEveryGroup) {
  EXPECT_EQ(LayersPerPage(std::vector<int>{18}), 18);
  EXPECT_EQ(LayersPerPage(std::vector<int>{15, 3}), 3);
  EXPECT_EQ(LayersPerPage(std::vector<int>{22, 4}), 2);
  EXPECT_EQ(LayersPerPage(std::vector<int>{5, 3}), 1);
}

TEST(KvFormatTest, PageBytesCountKeysAndValuesOfAllHeads) {
  const KvLayout layout = {.block_size = 64, .head_dim = 128, .kv_heads = 2, .dtype = DType::kBF16};
  EXPECT_EQ(PageBytes(layout, 3), size_t{2} * 64 * 128 * 2 * 2 * 3);
}

TEST(KvFormatDeathTest, ATypeOfWeightsIsNoKvType) { EXPECT_DEATH(KvDTypeName(DType::kQ4_K), "check failed"); }

}  // namespace
}  // namespace longspan
