// The files of a model: a GGUF file or a Hugging Face folder. All that tokenizers and chat templates need, so
// a vocabulary without weights, or a model of a family that is not supported, is enough for them.
//
// Ownership: it owns the mapped files; views must not outlive it. Threads: immutable after Open; may be read
// from any thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "runtime/model/gguf.h"

namespace longspan {

class ModelFiles {
 public:
  // `path` is a .gguf file or a folder. Errors name the file and what is wrong with it.
  static absl::StatusOr<ModelFiles> Open(const std::string& path);

  const std::string& path() const { return path_; }

  // The GGUF file, or null for a folder.
  const GgufFile* gguf() const { return gguf_.get(); }

  // The model's own chat template, Jinja text as it was published; nothing when there is none. From GGUF's
  // tokenizer.chat_template; or from the folder's chat_template.jinja, else chat_template of
  // tokenizer_config.json (of several the one named "default"), else chat_template.json.
  const std::optional<std::string>& ChatTemplate() const { return chat_template_; }

 private:
  explicit ModelFiles(std::string path) : path_(std::move(path)) {}

  std::string path_;
  std::unique_ptr<GgufFile> gguf_;
  std::optional<std::string> chat_template_;
};

}  // namespace longspan
