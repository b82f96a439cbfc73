// Reading GgufVocabulary from a file.
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/tokenizer/gguf_tokenizer.h"

namespace longspan {
namespace {

// Sets `target` from a key that may be absent. `read` is the typed accessor of GgufFile.
template <typename Value, typename Read>
absl::Status ReadOptional(const GgufFile& file, std::string_view key, const Read& read,
                          std::optional<Value>* target) {
  if (!file.Has(key)) return absl::OkStatus();
  LONGSPAN_ASSIGN_OR_RETURN(*target, (file.*read)(key));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<GgufVocabulary> ReadGgufVocabulary(const GgufFile& file) {
  GgufVocabulary vocabulary;
  vocabulary.origin = file.path();
  if (file.Has("tokenizer.ggml.model")) {
    LONGSPAN_ASSIGN_OR_RETURN(vocabulary.model, file.String("tokenizer.ggml.model"));
  }
  if (vocabulary.model.empty() || vocabulary.model == "no_vocab") {
    return absl::NotFoundError(absl::StrCat(
        file.path(), ": holds no tokenizer (tokenizer.ggml.model); the model runs on token ids"));
  }
  LONGSPAN_ASSIGN_OR_RETURN(const auto* tokens, file.Strings("tokenizer.ggml.tokens"));
  vocabulary.tokens = *tokens;
  if (file.Has("tokenizer.ggml.pre")) {
    LONGSPAN_ASSIGN_OR_RETURN(vocabulary.pre, file.String("tokenizer.ggml.pre"));
  }
  if (file.Has("tokenizer.ggml.scores")) {
    LONGSPAN_ASSIGN_OR_RETURN(const auto* scores, file.Floats("tokenizer.ggml.scores"));
    vocabulary.scores = *scores;
  }
  if (file.Has("tokenizer.ggml.token_type")) {
    LONGSPAN_ASSIGN_OR_RETURN(const auto* types, file.Ints("tokenizer.ggml.token_type"));
    vocabulary.types = *types;
  }
  if (file.Has("tokenizer.ggml.merges")) {
    LONGSPAN_ASSIGN_OR_RETURN(const auto* merges, file.Strings("tokenizer.ggml.merges"));
    vocabulary.merges = *merges;
  }
  const auto read_id = [&](const char* name, std::optional<int64_t>* id) {
    return ReadOptional(file, absl::StrCat("tokenizer.ggml.", name, "_token_id"), &GgufFile::Int, id);
  };
  LONGSPAN_RETURN_IF_ERROR(read_id("bos", &vocabulary.bos_id));
  LONGSPAN_RETURN_IF_ERROR(read_id("eos", &vocabulary.eos_id));
  LONGSPAN_RETURN_IF_ERROR(read_id("eot", &vocabulary.eot_id));
  LONGSPAN_RETURN_IF_ERROR(read_id("eom", &vocabulary.eom_id));
  LONGSPAN_RETURN_IF_ERROR(read_id("unknown", &vocabulary.unknown_id));
  const auto read_flag = [&](const char* name, std::optional<bool>* flag) {
    return ReadOptional(file, absl::StrCat("tokenizer.ggml.", name), &GgufFile::Bool, flag);
  };
  std::optional<bool> removes_spaces;
  LONGSPAN_RETURN_IF_ERROR(read_flag("add_bos_token", &vocabulary.add_bos));
  LONGSPAN_RETURN_IF_ERROR(read_flag("add_eos_token", &vocabulary.add_eos));
  LONGSPAN_RETURN_IF_ERROR(read_flag("add_space_prefix", &vocabulary.add_space_prefix));
  LONGSPAN_RETURN_IF_ERROR(read_flag("remove_extra_whitespaces", &removes_spaces));
  vocabulary.remove_extra_whitespaces = removes_spaces.value_or(false);
  vocabulary.has_character_map = file.Has("tokenizer.ggml.precompiled_charsmap");
  return vocabulary;
}

}  // namespace longspan
