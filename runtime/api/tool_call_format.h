// How models write tool calls into their answers. What the format is follows from the chat template, which
// renders earlier calls in the way that the model was trained to write them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/tokenizer/tokenizer.h"

namespace longspan {

enum class ToolCallFormat : uint8_t {
  kJson,         // {"name": …, "arguments": {…}}, for models that were not trained for one of these
  kLlama3,       // {"name": …, "parameters": {…}}, perhaps after <|python_tag|>; several parted by ";"
  kHermes,       // <tool_call>{"name": …, "arguments": {…}}</tool_call>, once for each call; Qwen as well
  kMistral,      // [TOOL_CALLS][{"name": …, "arguments": {…}}, …]
  kMistralArgs,  // [TOOL_CALLS]name[ARGS]{…}, once for each call; perhaps [CALL_ID]… before [ARGS]
};
std::string_view Name(ToolCallFormat format);  // "json", "llama3", "hermes", "mistral", "mistral-args"

// The texts around calls; empty or none where a format has no such text.
struct ToolCallMarkers {
  std::string_view begin, end;
  std::vector<std::string_view> inner;  // between a function's name and its arguments
};
ToolCallMarkers MarkersOf(ToolCallFormat format);

// `chat_template` is Jinja text as in ModelFiles::ChatTemplate(). kJson when it shows none of the others.
ToolCallFormat DetectToolCallFormat(std::string_view chat_template);

// The special tokens that are part of the format: they have no text of their own (Tokenizer::TokenBytes), and
// must come to ToolCallParser as their Spelling. In ascending order.
std::vector<int32_t> ToolCallTokens(ToolCallFormat format, const Tokenizer& tokenizer);

// A whole answer that is one call: `before`, the function's name, `between`, the arguments as a JSON object,
// `after`. For grammars that force a call.
struct ToolCallLiterals {
  std::string before, between, after;
};
ToolCallLiterals LiteralsOf(ToolCallFormat format);

}  // namespace longspan
