// A tokenizer.json that anybody may have written. Its member "config" takes the place of
// tokenizer_config.json.
#include "runtime/model/json_file.h"
#include "runtime/tokenizer/huggingface_tokenizer.h"
#include "tests/fuzz/use_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto json = longspan::ParseJsonObject(text, "tokenizer.json");
  if (!json.ok()) return 0;
  const nlohmann::json config = json->value("config", nlohmann::json());
  longspan::UseTokenizer(longspan::CreateTokenizerFromJson(*json, config, "tokenizer.json"));
  return 0;
}
