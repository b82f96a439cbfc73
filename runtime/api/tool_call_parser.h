// Finds tool calls in an answer as it arrives.
//
// What comes out does not depend on how the text is cut into pieces, apart from how texts and arguments are
// cut. Arguments are passed on as the model wrote them, valid JSON or not, as OpenAI's API does; what was
// marked as a call and names no function is text.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/api/tool_call_format.h"

namespace longspan {

// Hears of an answer's parts, in order.
class ToolCallListener {
 public:
  virtual ~ToolCallListener() = default;
  virtual void OnContent(std::string_view text) = 0;             // not empty
  virtual void OnCall(std::string_view name) = 0;                // a call begins; the one before has ended
  virtual void OnArguments(std::string_view json_fragment) = 0;  // of the latest call; not empty
};

struct ToolCallParserOptions {
  ToolCallFormat format = ToolCallFormat::kJson;
  // Of the functions that can be called. JSON without a marker around it (kJson, kLlama3) is a call only when
  // it names one of them.
  std::vector<std::string> names;
  bool parallel = true;  // without, calls after the first are left out
};

// Threads: one at a time.
class ToolCallParser {
 public:
  // `listener` must outlive the parser.
  ToolCallParser(ToolCallParserOptions options, ToolCallListener* listener);
  ~ToolCallParser();

  // Text that may be the beginning of a marker or of a call is held back.
  void Append(std::string_view text);
  // The text has ended. Append may not be called any more.
  void Finish();

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace longspan
