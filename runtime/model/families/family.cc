#include "runtime/model/families/family.h"

namespace longspan {

std::span<const Family> Families() {
  static constexpr Family kFamilies[] = {
      {"llama", LlamaFromGguf, "llama", LlamaFromFolder},
      {"mistral3", MistralFromGguf, "mistral", MistralFromFolder},
      {"qwen2", Qwen2FromGguf, "qwen2", Qwen2FromFolder},
      {"qwen3", Qwen3FromGguf, "qwen3", Qwen3FromFolder},
      {"gemma2", Gemma2FromGguf, "gemma2", Gemma2FromFolder},
      {"gemma3", Gemma3FromGguf, "gemma3_text", Gemma3FromFolder},
  };
  return kFamilies;
}

const Family* FindGgufFamily(std::string_view architecture) {
  for (const Family& family : Families()) {
    if (family.gguf_architecture == architecture) return &family;
  }
  return nullptr;
}

const Family* FindFolderFamily(std::string_view model_type) {
  for (const Family& family : Families()) {
    if (family.model_type == model_type) return &family;
  }
  return nullptr;
}

}  // namespace longspan
