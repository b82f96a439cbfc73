// Models in several GGUF files.
#include <cstring>

#include "runtime/model/gguf.h"
#include "tests/model/test_files.h"
#include "tests/tools/gguf_writer.h"

namespace longspan {
namespace {

// Three parts, "m-0000N-of-00003.gguf": the first without tensors, as llama.cpp's tool may write it.
class GgufPartsTest : public ::testing::Test {
 protected:
  std::string Path(int number) const {
    return folder_ / ("m-0000" + std::to_string(number) + "-of-00003.gguf");
  }

  // `tensors` are named and filled with the value of their first letter.
  static void Write(const std::string& path, int number, const std::vector<std::string>& tensors,
                    uint32_t count = 3, uint32_t all_tensors = 3) {
    GgufWriter writer;
    if (number == 1) {
      writer.AddString("general.architecture", "llama");
      writer.AddUint32("split.tensors.count", all_tensors);
    }
    writer.AddUint32("split.no", static_cast<uint32_t>(number - 1));
    writer.AddUint32("split.count", count);
    for (const std::string& name : tensors) writer.AddTensor(name, DType::kF32, {4});
    ASSERT_TRUE(writer
                    .Write(path,
                           [&](size_t tensor, std::span<std::byte> out) {
                             std::memset(out.data(), tensors[tensor][0], out.size());
                           })
                    .ok());
  }

  void SetUp() override {
    Write(Path(1), 1, {});
    Write(Path(2), 2, {"a", "b"});
    Write(Path(3), 3, {"c"});
  }

  absl::Status Open(int number = 1) const { return GgufFile::Open(Path(number)).status(); }

  TempFolder folder_;
};

TEST_F(GgufPartsTest, TheFirstOpensAll) {
  const auto file = GgufFile::Open(Path(1));
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ((*file)->tensors().size(), 3u);
  for (const char* name : {"a", "b", "c"}) {
    const TensorEntry* tensor = (*file)->FindTensor(name);
    ASSERT_NE(tensor, nullptr) << name;
    EXPECT_EQ(static_cast<char>(tensor->data[0]), name[0]);
    EXPECT_EQ(tensor->file->path(), Path(name[0] == 'c' ? 3 : 2));
  }
}

TEST_F(GgufPartsTest, AnotherPartNamesTheFirst) {
  ExpectError(Open(2), {"is part 2 of 3; give the first, " + Path(1)});
}

TEST_F(GgufPartsTest, AMissingPartIsNamed) {
  std::filesystem::remove(Path(3));
  ExpectError(Open(), {Path(1), "part 3 is missing: " + Path(3)});
}

TEST_F(GgufPartsTest, ADamagedPartIsNamed) {
  std::filesystem::resize_file(Path(2), 100);
  ExpectError(Open(), {Path(2), "truncated or damaged"});
}

TEST_F(GgufPartsTest, PartsThatDoNotBelongTogetherAreRefused) {
  std::filesystem::copy_file(Path(2), Path(3), std::filesystem::copy_options::overwrite_existing);
  ExpectError(Open(), {Path(3), "does not say that it is part 3 of 3"});
  Write(Path(3), 3, {"a"});
  ExpectError(Open(), {Path(3), "tensor a is in an earlier part too"});
  Write(Path(3), 3, {});
  ExpectError(Open(), {"split.tensors.count is 3 but the 3 parts have 2"});
  Write(Path(1), 1, {}, 0xffffffff);
  ExpectError(Open(), {"split.count is 4294967295"});
}

TEST_F(GgufPartsTest, NamesMustBeTheOnesOfTheirMaker) {
  std::filesystem::rename(Path(1), folder_ / "renamed.gguf");
  ExpectError(GgufFile::Open(folder_ / "renamed.gguf").status(),
              {"does not end in -00001-of-00003.gguf", "names back"});
}

}  // namespace
}  // namespace longspan
