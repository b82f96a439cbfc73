#include "runtime/model/safetensors.h"

#include <cstring>

#include "tests/model/test_files.h"

namespace longspan {
namespace {

std::string Safetensors(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + header + data;
}

const std::string kOne = R"({"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}})";

absl::Status ReadStatus(const std::string& path, const std::string& content) {
  WriteFile(path, content);
  const auto file = MappedFile::Open(path);
  if (!file.ok()) return file.status();
  return ReadSafetensors(**file).status();
}

TEST(SafetensorsTest, ReadsTensors) {
  TempFolder folder;
  const std::string path = folder / "a.safetensors";
  WriteFile(path, Safetensors(R"({"__metadata__":{"format":"pt"},)"
                              R"("b":{"dtype":"BF16","shape":[3],"data_offsets":[8,14]},)"
                              R"("a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},)"
                              R"("scalar":{"dtype":"I32","shape":[],"data_offsets":[14,18]},)"
                              R"("none":{"dtype":"F16","shape":[0,5],"data_offsets":[18,18]}}  )",
                              "0123456789abcdefgh"));
  const auto file = MappedFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  const auto tensors = ReadSafetensors(**file);
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  ASSERT_EQ(tensors->size(), 4u);
  EXPECT_EQ((*tensors)[0].name, "a");
  EXPECT_EQ((*tensors)[0].shape, (std::vector<int64_t>{2, 1}));
  EXPECT_EQ((*tensors)[1].dtype, DType::kBF16);
  EXPECT_EQ((*tensors)[1].bytes, 6u);
  EXPECT_EQ(std::memcmp((*tensors)[1].data, "89abcd", 6), 0);
  EXPECT_EQ((*tensors)[2].bytes, 0u);
  EXPECT_EQ((*tensors)[3].bytes, 4u);
}

TEST(SafetensorsTest, RefusesWrongFiles) {
  TempFolder folder;
  const std::string path = folder / "a.safetensors";
  const std::string data(8, '\0');
  const std::pair<std::string, std::string_view> cases[] = {
      {"1234567", "only 7 bytes"},
      {std::string(8, '\xff') + kOne, "18446744073709551615 bytes"},
      {Safetensors(kOne, data.substr(1)), "tensor a needs 8 bytes"},
      {Safetensors("[]", data), "not a JSON object"},
      {Safetensors("{", data), "not a JSON object"},
      {Safetensors(std::string(100000, '['), data), "nested more than 100 deep"},
      {Safetensors(R"({"a":)" + std::string(101, '[') + std::string(101, ']') + "}", data),
       "nested more than 100 deep"},
      {Safetensors(R"({"a":)" + std::string(100, '[') + std::string(100, ']') + "}", data), "no dtype"},
      {Safetensors(R"({"a":{}})", data), "tensor a has no dtype"},
      {Safetensors(R"({"a":7})", data), "tensor a has no dtype"},
      {Safetensors(R"({"a":{"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]}})", data),
       "tensor a has the format F8_E4M3, which is not supported"},
      {Safetensors(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", data), "impossible shape"},
      {Safetensors(R"({"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}})", data), "impossible shape"},
      {Safetensors(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8]}})", data), "impossible shape"},
      {Safetensors(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", data),
       "data_offsets are 8 to 0"},
      {Safetensors(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", data), "needs 12 bytes"},
      {Safetensors(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}})", data),
       "overflows"},
      {Safetensors(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                   R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
                   data),
       "the key a twice"},
  };
  for (const auto& [content, expected] : cases) ExpectError(ReadStatus(path, content), {path, expected});
  EXPECT_TRUE(ReadStatus(path, Safetensors(kOne, data)).ok());
}

TEST(SafetensorsTest, OpensTheFilesOfAnIndex) {
  const auto folder = OpenSafetensorsFolder(Golden("qwen3-qknorm"));
  ASSERT_TRUE(folder.ok()) << folder.status();
  EXPECT_EQ(folder->files.size(), 11u);
  size_t bytes = 0;
  for (const TensorEntry& tensor : folder->tensors) bytes += tensor.bytes;
  EXPECT_GT(bytes, 900'000u);
}

TEST(SafetensorsTest, OpensAllFilesWithoutAnIndex) {
  TempFolder folder;
  WriteFile(folder / "x.safetensors", Safetensors(kOne, std::string(8, '\0')));
  WriteFile(folder / "y.safetensors",
            Safetensors(R"({"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", std::string(4, '\0')));
  const auto opened = OpenSafetensorsFolder(folder.path());
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ(opened->tensors.size(), 2u);

  WriteFile(folder / "z.safetensors", Safetensors(kOne, std::string(8, '\0')));
  ExpectError(OpenSafetensorsFolder(folder.path()).status(), {"tensor a", "x.safetensors", "z.safetensors"});
}

TEST(SafetensorsTest, RefusesWrongIndexes) {
  TempFolder folder;
  ExpectError(OpenSafetensorsFolder(folder.path()).status(), {"no *.safetensors file"});
  WriteFile(folder / "x.safetensors", Safetensors(kOne, std::string(8, '\0')));
  const std::string index = folder / "model.safetensors.index.json";
  const std::pair<std::string, std::string_view> cases[] = {
      {"{}", "no weight_map"},
      {R"({"weight_map":{"a":"../x.safetensors"}})", "not the name of a file"},
      {R"({"weight_map":{"a":".."}})", "not the name of a file"},
      {R"({"weight_map":{"a":3}})", "not the name of a file"},
      {R"({"weight_map":{"a":"absent.safetensors"}})", "No such file"},
      {R"({"weight_map":{"b":"x.safetensors"}})", "places tensor b in x.safetensors"},
  };
  for (const auto& [content, expected] : cases) {
    WriteFile(index, content);
    ExpectError(OpenSafetensorsFolder(folder.path()).status(), {expected});
  }
  WriteFile(index, R"({"weight_map":{"a":"x.safetensors"}})");
  EXPECT_TRUE(OpenSafetensorsFolder(folder.path()).ok());
}

}  // namespace
}  // namespace longspan
