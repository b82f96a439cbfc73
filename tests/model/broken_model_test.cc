// Damaged files: opening one ends in an error or in a model whose weights can be read, never in a crash.
#include <cstring>
#include <random>

#include "runtime/model/model_source.h"
#include "tests/model/test_files.h"
#include "tests/tools/random_model.h"

namespace longspan {
namespace {

// Writes bytes into an existing file without changing its length.
void Patch(const std::string& path, size_t offset, std::string_view bytes) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(static_cast<std::streamoff>(offset));
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  ASSERT_TRUE(file) << path;
}

// Opens a model and, when that works, reads both ends of every weight. Returns whether it opened.
bool OpenAndTouch(const std::string& path) {
  const auto source = ModelSource::Open(path);
  if (!source.ok()) {
    EXPECT_FALSE(source.status().message().empty());
    return false;
  }
  [[maybe_unused]] volatile std::byte sink{};
  for (const WeightView& weight : (*source)->AllWeights()) {
    sink = weight.entry->data[0];
    sink = weight.entry->data[weight.entry->bytes - 1];
    EXPECT_EQ(weight.entry->bytes, RowBytes(weight.entry->dtype, weight.rows * weight.columns));
  }
  return true;
}

// The file's bytes before its tensor data.
size_t HeaderBytes(const std::string& path) {
  const auto file = GgufFile::Open(path);
  EXPECT_TRUE(file.ok()) << file.status();
  const std::byte* first = (*file)->tensors()[0].data;
  for (const TensorEntry& tensor : (*file)->tensors()) first = std::min(first, tensor.data);
  return static_cast<size_t>(first - (*file)->file().bytes().data());
}

constexpr size_t kMostPlaces = 1500;

class BrokenGgufTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    path_ = folder_ / "model.gguf";
    if (std::string(GetParam()) == "golden") {
      WriteFile(path_, ReadFile(Golden("gguf-llama/q4_k.gguf")));
    } else {
      const RandomModelSpec spec{.family = GetParam(),
                                 .layers = 1,
                                 .hidden = 32,
                                 .heads = 2,
                                 .kv_heads = 1,
                                 .head_dim = 16,
                                 .ffn = 32,
                                 .vocab = 16,
                                 .format = DType::kQ8_0};
      ASSERT_TRUE(WriteRandomModel(spec, path_).ok());
    }
    content_ = ReadFile(path_);
    header_bytes_ = HeaderBytes(path_);
    stride_ = header_bytes_ / kMostPlaces + 1;
    ASSERT_TRUE(OpenAndTouch(path_));
  }

  TempFolder folder_;
  std::string path_;
  std::string content_;
  size_t header_bytes_ = 0;
  size_t stride_ = 1;  // between the places of a long header that are damaged
};

// Every weight lies before the end, so a shorter file cannot be whole; only padding may be lost.
TEST_P(BrokenGgufTest, Truncated) {
  std::vector<size_t> sizes;
  for (size_t size = 0; size < content_.size(); size += size < header_bytes_ ? stride_ : 997)
    sizes.push_back(size);
  for (auto size = sizes.rbegin(); size != sizes.rend(); ++size) {
    std::filesystem::resize_file(path_, *size);
    EXPECT_FALSE(OpenAndTouch(path_)) << *size << " of " << content_.size();
  }
}

TEST_P(BrokenGgufTest, FlippedHeaderBytes) {
  int refused = 0;
  for (size_t i = 0; i < header_bytes_; i += stride_) {
    for (const int mask : {0x01, 0x80}) {
      const char flipped = static_cast<char>(content_[i] ^ mask);
      Patch(path_, i, std::string_view(&flipped, 1));
      refused += OpenAndTouch(path_) ? 0 : 1;
    }
    Patch(path_, i, std::string_view(&content_[i], 1));
  }
  EXPECT_GT(refused, 100);
  EXPECT_TRUE(OpenAndTouch(path_));
}

// Wherever a count, a length, a dimension or an offset lies, one of these steps makes it huge.
TEST_P(BrokenGgufTest, HugeNumbers) {
  const uint64_t huge[] = {~uint64_t{0}, uint64_t{1} << 63, (uint64_t{1} << 63) - 1, uint64_t{1} << 61};
  for (size_t i = 0; i + 8 <= header_bytes_; i += stride_) {
    for (const uint64_t value : huge) {
      Patch(path_, i, std::string_view(reinterpret_cast<const char*>(&value), sizeof(value)));
      OpenAndTouch(path_);
    }
    Patch(path_, i, std::string_view(content_).substr(i, 8));
  }
  EXPECT_TRUE(OpenAndTouch(path_));
}

INSTANTIATE_TEST_SUITE_P(Files, BrokenGgufTest, ::testing::Values("llama", "qwen2", "gemma3", "golden"));

class BrokenFolderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"config.json", "model.safetensors"}) {
      WriteFile(folder_ / name, ReadFile(Golden("gemma3-dual/" + std::string(name))));
    }
    ASSERT_TRUE(OpenAndTouch(folder_.path()));
  }

  TempFolder folder_;
};

TEST_F(BrokenFolderTest, TruncatedConfig) {
  const std::string content = ReadFile(folder_ / "config.json");
  for (size_t size = 0; size < content.size(); ++size) {
    WriteFile(folder_ / "config.json", std::string_view(content).substr(0, size));
    EXPECT_FALSE(OpenAndTouch(folder_.path())) << size;
  }
}

TEST_F(BrokenFolderTest, FlippedConfigBytes) {
  const std::string path = folder_ / "config.json";
  const std::string content = ReadFile(path);
  int refused = 0;
  for (size_t i = 0; i < content.size(); ++i) {
    for (const int mask : {0x01, 0x80}) {
      const char flipped = static_cast<char>(content[i] ^ mask);
      Patch(path, i, std::string_view(&flipped, 1));
      refused += OpenAndTouch(folder_.path()) ? 0 : 1;
    }
    Patch(path, i, std::string_view(&content[i], 1));
  }
  EXPECT_GT(refused, 100);
}

TEST_F(BrokenFolderTest, TruncatedSafetensors) {
  const std::string path = folder_ / "model.safetensors";
  const size_t whole = std::filesystem::file_size(path);
  for (size_t cut = 1; cut < whole; cut += 4001) {
    std::filesystem::resize_file(path, whole - cut);
    EXPECT_FALSE(OpenAndTouch(folder_.path())) << cut;
  }
  for (size_t size = 64; size-- > 0;) {
    std::filesystem::resize_file(path, size);
    EXPECT_FALSE(OpenAndTouch(folder_.path())) << size;
  }
}

TEST_F(BrokenFolderTest, FlippedSafetensorsHeader) {
  constexpr uint32_t kSeed = 7;
  constexpr int kFlips = 1000;
  const std::string path = folder_ / "model.safetensors";
  const std::string content = ReadFile(path);
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, content.data(), sizeof(header_bytes));
  std::mt19937 random(kSeed);
  int refused = 0;
  for (int flip = 0; flip < kFlips; ++flip) {
    // The length first, byte by byte, then places all over the header.
    const size_t i = flip < 8 ? static_cast<size_t>(flip) : 8 + random() % header_bytes;
    const char flipped = static_cast<char>(content[i] ^ (1 << random() % 8));
    Patch(path, i, std::string_view(&flipped, 1));
    refused += OpenAndTouch(folder_.path()) ? 0 : 1;
    Patch(path, i, std::string_view(&content[i], 1));
  }
  EXPECT_GT(refused, kFlips / 2);
  EXPECT_TRUE(OpenAndTouch(folder_.path()));
}

}  // namespace
}  // namespace longspan
