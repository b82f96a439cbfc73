// A chat template that anybody may have written, given a conversation.
#include <string_view>

#include <nlohmann/json.hpp>

#include "runtime/jinja/template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto conversation = nlohmann::ordered_json::parse(R"({
    "messages": [
      {"role": "system", "content": " Be brief.\n"},
      {"role": "user", "content": "Łódź 漢字 🙂 <b>?"},
      {"role": "assistant", "content": "<think>a</think>b",
       "tool_calls": [{"function": {"name": "f", "arguments": {"x": [1, 2.5, null, true]}}}]}],
    "tools": [{"function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}],
    "bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": true, "n": -7})");
  const auto parsed =
      longspan::jinja::Template::Parse(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!parsed.ok()) return 0;
  longspan::jinja::RenderOptions options;
  options.work = 1 << 22;
  options.output_bytes = 1 << 20;
  (void)parsed->Render(conversation, options);
  return 0;
}
