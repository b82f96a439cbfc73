#include "runtime/model/gguf.h"

#include <cstring>

#include "tests/model/test_files.h"
#include "tests/tools/gguf_writer.h"

namespace longspan {
namespace {

void FillZero(size_t, std::span<std::byte> out) { std::memset(out.data(), 0, out.size()); }

template <typename T>
std::string Bytes(T value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof(value));
}

std::string Text(const std::string& text) { return Bytes(static_cast<uint64_t>(text.size())) + text; }

// A file without tensors whose metadata is `keys`, `count` of them.
std::string Metadata(uint64_t count, const std::string& keys) {
  return "GGUF" + Bytes(uint32_t{3}) + Bytes(uint64_t{0}) + Bytes(count) + keys;
}

TEST(GgufTest, ReadsMetadataOfEveryType) {
  TempFolder folder;
  const std::string path = folder / "a.gguf";
  const std::string keys =
      Text("u8") + Bytes(0u) + Bytes(uint8_t{255}) + Text("i8") + Bytes(1u) + Bytes(int8_t{-1}) +
      Text("u16") + Bytes(2u) + Bytes(uint16_t{65535}) + Text("i16") + Bytes(3u) + Bytes(int16_t{-2}) +
      Text("u32") + Bytes(4u) + Bytes(uint32_t{4000000000}) + Text("i32") + Bytes(5u) + Bytes(int32_t{-3}) +
      Text("f32") + Bytes(6u) + Bytes(0.5f) + Text("bool") + Bytes(7u) + Bytes(uint8_t{1}) + Text("string") +
      Bytes(8u) + Text("héllo") + Text("strings") + Bytes(9u) + Bytes(8u) + Bytes(uint64_t{2}) + Text("a") +
      Text("") + Text("ints") + Bytes(9u) + Bytes(1u) + Bytes(uint64_t{2}) + Bytes(int8_t{-5}) +
      Bytes(int8_t{6}) + Text("floats") + Bytes(9u) + Bytes(12u) + Bytes(uint64_t{1}) + Bytes(2.5) +
      Text("u64") + Bytes(10u) + Bytes(~uint64_t{0}) + Text("i64") + Bytes(11u) + Bytes(int64_t{-4}) +
      Text("f64") + Bytes(12u) + Bytes(0.1);
  WriteFile(path, Metadata(15, keys));
  const auto file = GgufFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  const GgufFile& gguf = **file;
  EXPECT_EQ(*gguf.Int("u8"), 255);
  EXPECT_EQ(*gguf.Int("i8"), -1);
  EXPECT_EQ(*gguf.Int("u16"), 65535);
  EXPECT_EQ(*gguf.Int("i16"), -2);
  EXPECT_EQ(*gguf.Int("u32"), 4000000000);
  EXPECT_EQ(*gguf.Int("i32"), -3);
  EXPECT_EQ(*gguf.Int("i64"), -4);
  EXPECT_EQ(*gguf.Float("f32"), 0.5);
  EXPECT_EQ(*gguf.Float("f64"), 0.1);
  EXPECT_EQ(*gguf.Float("i32"), -3.0);
  EXPECT_TRUE(*gguf.Bool("bool"));
  EXPECT_EQ(*gguf.String("string"), "héllo");
  EXPECT_EQ(**gguf.Strings("strings"), (std::vector<std::string_view>{"a", ""}));
  EXPECT_EQ(**gguf.Ints("ints"), (std::vector<int64_t>{-5, 6}));
  EXPECT_EQ(**gguf.Floats("floats"), (std::vector<double>{2.5}));
  ExpectError(gguf.Int("u64").status(), {path, "u64", "below 2^63"});
  ExpectError(gguf.Int("f32").status(), {path, "f32", "not an integer"});
  ExpectError(gguf.String("absent").status(), {path, "no metadata key absent"});
  EXPECT_EQ(gguf.Find("absent"), nullptr);
}

TEST(GgufTest, FindsTensorsOfAGolden) {
  const auto file = GgufFile::Open(Golden("gguf-llama/q4_k.gguf"));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->tensors().size(), 22u);
  const TensorEntry* tensor = (*file)->FindTensor("blk.1.attn_k.weight");
  ASSERT_NE(tensor, nullptr);
  EXPECT_EQ(tensor->dtype, DType::kQ4_K);
  EXPECT_EQ(tensor->shape, (std::vector<int64_t>{128, 256}));
  EXPECT_EQ(tensor->bytes, 128u * 144u);
  const auto bytes = (*file)->file().bytes();
  EXPECT_GE(tensor->data, bytes.data());
  EXPECT_LE(tensor->data + tensor->bytes, bytes.data() + bytes.size());
  EXPECT_EQ((*file)->FindTensor("blk.9.attn_k.weight"), nullptr);
}

TEST(GgufTest, RefusesWrongHeaders) {
  TempFolder folder;
  const std::string path = folder / "a.gguf";
  const std::string rest = Bytes(uint64_t{0}) + Bytes(uint64_t{0});
  const std::pair<std::string, std::string_view> cases[] = {
      {"GGML" + Bytes(uint32_t{3}) + rest, "not a GGUF file"},
      {"GGUF" + Bytes(uint32_t{1}) + rest, "version 1"},
      {"GGUF" + Bytes(uint32_t{2}) + rest, "version 2"},
      {"GGUF" + Bytes(uint32_t{0x03000000}) + rest, "big-endian"},
      {"GGUF" + Bytes(uint32_t{3}) + Bytes(uint64_t{0}), "number of metadata keys"},
      {"GG", "magic number"},
      {Metadata(1, Text("k") + Bytes(13u)), "value type 13"},
      {Metadata(1, Text("k") + Bytes(9u) + Bytes(9u) + Bytes(uint64_t{0})),
       "array of the unsupported value type 9"},
      {Metadata(1, Text("k") + Bytes(9u) + Bytes(4u) + Bytes(uint64_t{1} << 62)),
       "4611686018427387904 elements"},
      {Metadata(1, Text("k") + Bytes(8u) + Bytes(~uint64_t{0})), "18446744073709551615 bytes"},
      {Metadata(1, Text("k") + Bytes(7u) + Bytes(uint8_t{2})), "the bool 2"},
      {Metadata(1, Text("") + Bytes(7u) + Bytes(uint8_t{1})), "has 0 bytes"},
      {Metadata(2, Text("k") + Bytes(7u) + Bytes(uint8_t{1}) + Text("k") + Bytes(7u) + Bytes(uint8_t{1})),
       "twice"},
      {Metadata(1, Text("general.alignment") + Bytes(4u) + Bytes(uint32_t{24})), "general.alignment is 24"},
      {Metadata(~uint64_t{0}, Text("k") + Bytes(7u) + Bytes(uint8_t{1})), "ends inside a metadata key"},
  };
  for (const auto& [content, expected] : cases) {
    WriteFile(path, content);
    ExpectError(GgufFile::Open(path).status(), {path, expected});
  }
}

// The file of one tensor called "t" with these dimensions, contiguous first, and `data_bytes` of data.
std::string OneTensor(const std::vector<uint64_t>& dimensions, uint32_t type, uint64_t offset,
                      size_t data_bytes) {
  std::string bytes = "GGUF" + Bytes(uint32_t{3}) + Bytes(uint64_t{1}) + Bytes(uint64_t{0}) + Text("t") +
                      Bytes(static_cast<uint32_t>(dimensions.size()));
  for (const uint64_t size : dimensions) bytes += Bytes(size);
  bytes += Bytes(type) + Bytes(offset);
  bytes.append((32 - bytes.size() % 32) % 32, '\0');
  return bytes.append(data_bytes, '\0');
}

TEST(GgufTest, RefusesWrongTensors) {
  TempFolder folder;
  const std::string path = folder / "a.gguf";
  const std::pair<std::string, std::string_view> cases[] = {
      {OneTensor({}, 0, 0, 64), "0 dimensions"},
      {OneTensor({1, 1, 1, 1, 1}, 0, 0, 64), "5 dimensions"},
      {OneTensor({0}, 0, 0, 64), "impossible dimension 0"},
      {OneTensor({~uint64_t{0}}, 0, 0, 64), "impossible dimension -1"},
      {OneTensor({uint64_t{1} << 40, uint64_t{1} << 40}, 0, 0, 64), "impossible dimension"},
      {OneTensor({uint64_t{1} << 62}, 0, 0, 64), "more than any file holds"},
      {OneTensor({48}, 8, 0, 64), "not a multiple of Q8_0's block of 32"},
      {OneTensor({256}, 10, 0, 256), "tensor t has the format Q2_K (type 10), which is not supported"},
      {OneTensor({256}, 77, 0, 256), "unknown (type 77)"},
      {OneTensor({17}, 0, 0, 64), "the 68 bytes of tensor t"},
      {OneTensor({16}, 0, 32, 64), "at offset 32"},
      {OneTensor({4}, 0, 4, 64), "aligned to 32"},
      {OneTensor({4}, 0, ~uint64_t{31}, 64), "do not lie"},
  };
  for (const auto& [content, expected] : cases) {
    WriteFile(path, content);
    ExpectError(GgufFile::Open(path).status(), {path, expected});
  }
  WriteFile(path, OneTensor({16}, 0, 0, 64));
  EXPECT_TRUE(GgufFile::Open(path).ok());
}

TEST(GgufTest, RefusesTensorsOfOneName) {
  TempFolder folder;
  const std::string path = folder / "a.gguf";
  GgufWriter writer;
  writer.AddTensor("same", DType::kF32, {4});
  writer.AddTensor("same", DType::kF32, {4});
  ASSERT_TRUE(writer.Write(path, FillZero).ok());
  ExpectError(GgufFile::Open(path).status(), {path, "tensor same appears twice"});
}

TEST(GgufTest, NamesWhatIsNoFile) {
  TempFolder folder;
  ExpectError(GgufFile::Open(folder / "absent.gguf").status(), {"absent.gguf", "No such file"});
  ExpectError(GgufFile::Open(folder.path()).status(), {folder.path(), "not a regular file"});
  WriteFile(folder / "empty.gguf", "");
  ExpectError(GgufFile::Open(folder / "empty.gguf").status(), {"empty.gguf", "empty"});
}

}  // namespace
}  // namespace longspan
