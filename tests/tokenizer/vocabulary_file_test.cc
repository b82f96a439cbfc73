// A GGUF file with a vocabulary and no tensors is enough for a tokenizer.
#include "runtime/model/model_files.h"
#include "runtime/model/model_source.h"
#include "runtime/tokenizer/tokenizer.h"
#include "tests/model/test_files.h"
#include "tests/tools/gguf_writer.h"

namespace longspan {
namespace {

TEST(VocabularyFileTest, Tokenizes) {
  GgufWriter writer;
  writer.AddString("general.architecture", "a family that does not exist");
  writer.AddString("tokenizer.ggml.model", "llama");
  writer.AddStrings("tokenizer.ggml.tokens", {"<unk>", "<s>", "</s>", "\u2581", "a", "b", "ab", "\u2581ab"});
  writer.AddFloat32s("tokenizer.ggml.scores", {0, 0, 0, -4, -5, -6, -2, -1});
  writer.AddInt32s("tokenizer.ggml.token_type", {2, 3, 3, 1, 1, 1, 1, 1});
  writer.AddUint32("tokenizer.ggml.bos_token_id", 1);
  TempFolder folder;
  ASSERT_TRUE(writer.Write(folder / "v.gguf", [](size_t, std::span<std::byte>) {}).ok());
  const absl::StatusOr<ModelFiles> files = ModelFiles::Open(folder / "v.gguf");
  ASSERT_TRUE(files.ok()) << files.status();
  const auto tokenizer = Tokenizer::Create(*files);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const auto ids = (*tokenizer)->Encode("abba", {});
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(*ids, (std::vector<int32_t>{1, 7, 5, 4}));
  EXPECT_EQ((*tokenizer)->Decode(*ids), "abba");
  ExpectError(ModelSource::Open(folder / "v.gguf").status(), {"holds a vocabulary alone and no tensors"});
}

}  // namespace
}  // namespace longspan
