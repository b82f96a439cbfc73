#include "launcher/load/sse_parser.h"

namespace longspan::load {
namespace {

constexpr size_t kMaxEventBytes = 16 << 20;
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

}  // namespace

void SseParser::EndLine(std::string_view line, const OnData& on_data) {
  if (first_line_ && line.starts_with(kByteOrderMark)) line.remove_prefix(kByteOrderMark.size());
  first_line_ = false;
  if (line.empty()) {
    if (has_data_) on_data(data_);
    data_.clear();
    has_data_ = false;
    return;
  }
  // Comments and other fields say nothing of the answer.
  if (!line.starts_with("data")) return;
  line.remove_prefix(4);
  if (!line.empty()) {
    if (line.front() != ':') return;
    line.remove_prefix(line.starts_with(": ") ? 2 : 1);
  }
  if (has_data_) data_ += '\n';
  data_ += line;
  has_data_ = true;
}

bool SseParser::Feed(std::string_view bytes, const OnData& on_data) {
  while (!bytes.empty() && !failed_) {
    if (after_carriage_return_ && bytes.front() == '\n') {
      bytes.remove_prefix(1);
      after_carriage_return_ = false;
      continue;
    }
    after_carriage_return_ = false;
    const size_t end = bytes.find_first_of("\r\n");
    if (end == std::string_view::npos) {
      line_ += bytes;
    } else {
      after_carriage_return_ = bytes[end] == '\r';
      if (line_.empty()) {
        EndLine(bytes.substr(0, end), on_data);
      } else {
        line_ += bytes.substr(0, end);
        EndLine(line_, on_data);
        line_.clear();
      }
    }
    bytes.remove_prefix(end == std::string_view::npos ? bytes.size() : end + 1);
    failed_ = line_.size() + data_.size() > kMaxEventBytes;
  }
  return !failed_;
}

}  // namespace longspan::load
