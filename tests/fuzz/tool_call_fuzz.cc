// An answer that a model may have written: the format, then in how many bytes a piece the rest arrives.
// However it arrives, the same is heard.
#include "kernels/check.h"
#include "runtime/api/tool_call_parser.h"

namespace {

class Heard final : public longspan::ToolCallListener {
 public:
  void OnContent(std::string_view part) override { Add('t', part); }
  void OnCall(std::string_view name) override {
    Add('c', name);
    last_ = 0;  // each call for itself
  }
  void OnArguments(std::string_view fragment) override { Add('a', fragment); }

  std::string text;

 private:
  void Add(char kind, std::string_view part) {
    if (kind != last_) text += std::string("\0", 1) + kind;
    last_ = kind;
    text += part;
  }

  char last_ = 0;
};

std::string Parsed(longspan::ToolCallFormat format, std::string_view text, size_t piece) {
  Heard heard;
  longspan::ToolCallParser parser({format, {"f", "g"}, true}, &heard);
  for (size_t at = 0; at < text.size(); at += piece) parser.Append(text.substr(at, piece));
  parser.Finish();
  return heard.text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const auto format = static_cast<longspan::ToolCallFormat>(data[0] % 5);
  const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  LONGSPAN_CHECK(Parsed(format, text, size_t{1} + data[1]) == Parsed(format, text, size));
  return 0;
}
