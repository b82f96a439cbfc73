#include "runtime/model/finite_values.h"

#include <cstring>

#include "kernels/cpu/cpu_backend.h"
#include "runtime/model/sharded_weights.h"
#include "tests/model/test_files.h"
#include "tests/tools/random_model.h"

namespace longspan {
namespace {

struct Format {
  DType dtype;
  std::vector<size_t> places;     // of numbers within a block
  std::vector<uint32_t> broken;   // bits that are no finite number
  std::vector<uint32_t> largest;  // and of numbers that are
};

const std::vector<uint32_t> kBrokenHalves = {0x7c00, 0xfc00, 0x7e00, 0xffff};
const std::vector<uint32_t> kLargestHalves = {0x7bff, 0xfbff};

std::vector<Format> Formats() {
  std::vector<Format> formats = {
      {DType::kF32, {0}, {0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001}, {0x7f7fffff, 0xff7fffff}},
      {DType::kBF16, {0}, {0x7f80, 0xff80, 0x7fc0, 0x7f81}, {0x7f7f, 0xff7f}},
  };
  for (const DType dtype : {DType::kF16, DType::kQ4_0, DType::kQ5_0, DType::kQ8_0}) {
    formats.push_back({dtype, {0}, kBrokenHalves, kLargestHalves});
  }
  for (const DType dtype : {DType::kQ4_1, DType::kQ5_1, DType::kQ4_K, DType::kQ5_K}) {
    formats.push_back({dtype, {0, 2}, kBrokenHalves, kLargestHalves});
  }
  formats.push_back({DType::kQ6_K, {208}, kBrokenHalves, kLargestHalves});
  return formats;
}

TEST(FiniteValuesTest, FindsTheFirstOfEveryFormat) {
  for (const Format& format : Formats()) {
    const DTypeTraits& traits = Traits(format.dtype);
    SCOPED_TRACE(std::string(traits.name));
    const size_t width = format.dtype == DType::kF32 ? 4 : 2;
    const size_t block_bytes = static_cast<size_t>(traits.block_bytes);
    for (const size_t count : {1, 63, 64, 65, 130}) {
      // All ones but where numbers lie: quants and sub-scales may be anything.
      std::string blocks(count * block_bytes + 1, '\xff');
      const auto at = [&](size_t block, size_t place) {
        return blocks.data() + 1 + block * block_bytes + place;  // aligned to nothing
      };
      const auto find = [&] {
        return FirstNonFinite(format.dtype, reinterpret_cast<const std::byte*>(at(0, 0)),
                              static_cast<int64_t>(count));
      };
      for (size_t block = 0; block < count; ++block) {
        for (const size_t place : format.places) std::memcpy(at(block, place), &format.largest[0], width);
      }
      EXPECT_EQ(find(), std::nullopt);
      for (const size_t place : format.places) {
        for (const size_t block : {size_t{0}, count / 2, count - 1}) {
          for (const uint32_t bits : format.broken) {
            std::memcpy(at(block, place), &bits, width);
            EXPECT_EQ(find(), static_cast<int64_t>(block)) << bits;
          }
          std::memcpy(at(block, place), &format.largest[1], width);
        }
      }
      EXPECT_EQ(find(), std::nullopt);
    }
  }
}

// Loads rank `rank` of `ranks` after the tensor got a NaN as its last number.
absl::Status LoadBroken(const std::string& name, int ranks, int rank) {
  TempFolder folder;
  const std::string path = folder / "m.gguf";
  const RandomModelSpec spec{.family = "qwen2",
                             .layers = 1,
                             .hidden = 32,
                             .heads = 2,
                             .kv_heads = 1,
                             .head_dim = 16,
                             .ffn = 64,
                             .vocab = 64};
  EXPECT_TRUE(WriteRandomModel(spec, path).ok());
  {
    const auto file = GgufFile::Open(path);
    const TensorEntry* tensor = (*file)->FindTensor(name);
    std::string bytes = ReadFile(path);
    const size_t end = static_cast<size_t>(tensor->data - (*file)->file().bytes().data()) + tensor->bytes;
    bytes.replace(end - 4, 4, 4, '\xff');
    WriteFile(path, bytes);
  }
  const auto source = ModelSource::Open(path);
  EXPECT_TRUE(source.ok()) << source.status();
  const auto backend = CreateCpuBackend({});
  return LoadShardedWeights(**source, PlanShard((*source)->config(), 1, ranks, rank), **backend, {}).status();
}

TEST(FiniteValuesTest, LoadingNamesTensorRowAndColumn) {
  ExpectError(LoadBroken("blk.0.ffn_norm.weight", 1, 0),
              {"m.gguf", "blk.0.ffn_norm.weight", "row 0", "column 31"});
  ExpectError(LoadBroken("blk.0.attn_k.bias", 1, 0), {"blk.0.attn_k.bias", "row 0", "column 15"});
  ExpectError(LoadBroken("blk.0.ffn_down.weight", 1, 0), {"blk.0.ffn_down.weight", "row 31", "column 63"});
  ExpectError(LoadBroken("output.weight", 1, 0), {"output.weight", "row 63", "column 31"});
  // A rank looks at what it holds: rows of the vocabulary, columns of the FFN.
  for (const char* name : {"output.weight", "blk.0.ffn_down.weight"}) {
    EXPECT_TRUE(LoadBroken(name, 2, 0).ok());
    ExpectError(LoadBroken(name, 2, 1), {name});
  }
}

}  // namespace
}  // namespace longspan
