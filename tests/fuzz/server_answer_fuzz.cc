// What a server may answer, in reads of some size, and what a trace may hold.
#include <algorithm>
#include <string_view>

#include "launcher/load/answer_reader.h"
#include "launcher/load/trace.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace longspan::load;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)ParseTrace(text, "trace");
  if (text.empty()) return 0;
  // The first byte says how the answer comes.
  const auto how = static_cast<unsigned char>(text.front());
  RequestRecord record;
  AnswerReader reader(&record);
  reader.OnHead({how % 8 == 0 ? 500 : 200, how % 8 == 1 ? "application/json" : "text/event-stream", {}});
  const size_t piece = 1 + how / 8 * 5;
  for (size_t at = 1; at < text.size(); at += piece) reader.OnBody(text.substr(at, piece), 1);
  reader.OnEnd(absl::OkStatus(), 2);
  return 0;
}
