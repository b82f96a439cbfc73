#include "runtime/tokenizer/tokenizer.h"

#include <filesystem>
#include <system_error>

#include "kernels/status_macros.h"
#include "runtime/model/model_source.h"
#include "runtime/tokenizer/gguf_tokenizer.h"
#include "runtime/tokenizer/huggingface_tokenizer.h"
#include "runtime/tokenizer/utf8.h"

namespace longspan {

namespace {

absl::StatusOr<std::unique_ptr<Tokenizer>> CreateFromGguf(const GgufFile& file) {
  LONGSPAN_ASSIGN_OR_RETURN(const GgufVocabulary vocabulary, ReadGgufVocabulary(file));
  return CreateGgufTokenizer(vocabulary);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Create(const ModelSource& source) {
  return source.gguf() == nullptr ? CreateHuggingFaceTokenizer(source.path())
                                  : CreateFromGguf(*source.gguf());
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Open(const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return CreateHuggingFaceTokenizer(path);
  LONGSPAN_ASSIGN_OR_RETURN(const std::unique_ptr<GgufFile> file, GgufFile::Open(path));
  return CreateFromGguf(*file);
}

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool at_start)
    : tokenizer_(&tokenizer), strip_next_space_(at_start && tokenizer.strips_leading_space()) {}

std::string StreamDecoder::Append(int32_t id) {
  std::string bytes = tokenizer_->TokenBytes(id);
  if (strip_next_space_ && !bytes.empty()) {
    if (bytes.front() == ' ') bytes.erase(0, 1);
    strip_next_space_ = false;
  }
  pending_ += bytes;
  std::string text;
  pending_.erase(0, AppendAsUtf8(pending_, /*at_end=*/false, &text));
  return text;
}

std::string StreamDecoder::Finish() {
  std::string text;
  AppendAsUtf8(pending_, /*at_end=*/true, &text);
  pending_.clear();
  return text;
}

}  // namespace longspan
