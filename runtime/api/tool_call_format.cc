#include "runtime/api/tool_call_format.h"

#include <algorithm>

#include "kernels/check.h"

namespace longspan {
namespace {

bool Contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace

std::string_view Name(ToolCallFormat format) {
  switch (format) {
    case ToolCallFormat::kJson:
      return "json";
    case ToolCallFormat::kLlama3:
      return "llama3";
    case ToolCallFormat::kHermes:
      return "hermes";
    case ToolCallFormat::kMistral:
      return "mistral";
    case ToolCallFormat::kMistralArgs:
      return "mistral-args";
  }
  LONGSPAN_CHECK(!"a format of tool calls that does not exist");
  return {};
}

ToolCallMarkers MarkersOf(ToolCallFormat format) {
  switch (format) {
    case ToolCallFormat::kJson:
      return {};
    case ToolCallFormat::kLlama3:
      return {"<|python_tag|>", "", {}};
    case ToolCallFormat::kHermes:
      return {"<tool_call>", "</tool_call>", {}};
    case ToolCallFormat::kMistral:
    case ToolCallFormat::kMistralArgs:
      return {"[TOOL_CALLS]", "", {"[CALL_ID]", "[ARGS]"}};
  }
  LONGSPAN_CHECK(!"a format of tool calls that does not exist");
  return {};
}

ToolCallFormat DetectToolCallFormat(std::string_view chat_template) {
  if (Contains(chat_template, "[TOOL_CALLS]")) {
    return Contains(chat_template, "[ARGS]") ? ToolCallFormat::kMistralArgs : ToolCallFormat::kMistral;
  }
  // Others put XML between the same markers.
  const bool xml = Contains(chat_template, "<function=") || Contains(chat_template, "<arg_key>");
  if (Contains(chat_template, "<tool_call>") && !xml) return ToolCallFormat::kHermes;
  const bool llama = Contains(chat_template, "<|start_header_id|>") &&
                     (Contains(chat_template, "\"parameters\"") || Contains(chat_template, "<|python_tag|>"));
  return llama ? ToolCallFormat::kLlama3 : ToolCallFormat::kJson;
}

std::vector<int32_t> ToolCallTokens(ToolCallFormat format, const Tokenizer& tokenizer) {
  const ToolCallMarkers markers = MarkersOf(format);
  std::vector<std::string_view> spellings = markers.inner;
  for (const std::string_view marker : {markers.begin, markers.end}) {
    if (!marker.empty()) spellings.push_back(marker);
  }
  std::vector<int32_t> ids;
  if (spellings.empty()) return ids;
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    if (!tokenizer.IsSpecial(id)) continue;
    if (std::find(spellings.begin(), spellings.end(), tokenizer.Spelling(id)) != spellings.end())
      ids.push_back(id);
  }
  return ids;
}

ToolCallLiterals LiteralsOf(ToolCallFormat format) {
  switch (format) {
    case ToolCallFormat::kJson:
      return {"{\"name\": \"", "\", \"arguments\": ", "}"};
    case ToolCallFormat::kLlama3:
      return {"{\"name\": \"", "\", \"parameters\": ", "}"};
    case ToolCallFormat::kHermes:
      return {"<tool_call>\n{\"name\": \"", "\", \"arguments\": ", "}\n</tool_call>"};
    case ToolCallFormat::kMistral:
      return {"[TOOL_CALLS][{\"name\": \"", "\", \"arguments\": ", "}]"};
    case ToolCallFormat::kMistralArgs:
      return {"[TOOL_CALLS]", "[ARGS]", ""};
  }
  LONGSPAN_CHECK(!"a format of tool calls that does not exist");
  return {};
}

}  // namespace longspan
