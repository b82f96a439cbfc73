// Server-sent events (WHATWG HTML, "Server-sent events", 9.2.6), as far as answers of language models use
// them.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace longspan::load {

class SseParser {
 public:
  // Hears the data of an event, its lines joined by newlines; valid during the call.
  using OnData = std::function<void(std::string_view data)>;

  // Bytes as they come, cut anywhere. False, and for all later calls, when an event grows beyond 16 MiB.
  bool Feed(std::string_view bytes, const OnData& on_data);

 private:
  void EndLine(std::string_view line, const OnData& on_data);

  std::string line_;  // the beginning of a line whose end has not come
  std::string data_;
  bool has_data_ = false;
  bool after_carriage_return_ = false;
  bool first_line_ = true;
  bool failed_ = false;
};

}  // namespace longspan::load
