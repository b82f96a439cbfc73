#include "runtime/tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/status_macros.h"
#include "runtime/tokenizer/utf8.h"

namespace longspan {
namespace {

std::string ErrorText(int code) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

// What one thread needs to run any expression.
class MatchState {
 public:
  MatchState()
      : data_(pcre2_match_data_create(1, nullptr)),
        context_(pcre2_match_context_create(nullptr)),
        stack_(pcre2_jit_stack_create(kFirstStackBytes, kMaxStackBytes, nullptr)) {
    LONGSPAN_CHECK(data_ != nullptr && context_ != nullptr);
    // Without a stack of its own (no JIT on this machine) matching uses the heap.
    if (stack_ != nullptr) pcre2_jit_stack_assign(context_, nullptr, stack_);
  }
  ~MatchState() {
    pcre2_jit_stack_free(stack_);
    pcre2_match_context_free(context_);
    pcre2_match_data_free(data_);
  }
  MatchState(const MatchState&) = delete;
  MatchState& operator=(const MatchState&) = delete;

  static MatchState& OfThisThread() {
    thread_local MatchState state;
    return state;
  }

  pcre2_match_data* data() { return data_; }
  pcre2_match_context* context() { return context_; }

 private:
  static constexpr size_t kFirstStackBytes = 64 << 10;
  static constexpr size_t kMaxStackBytes = 16 << 20;

  pcre2_match_data* data_;
  pcre2_match_context* context_;
  pcre2_jit_stack* stack_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Regex>> Regex::CompileWith(std::string_view pattern, uint32_t options) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), options,
                                   &error, &offset, nullptr);
  if (code == nullptr) {
    return absl::UnimplementedError(absl::StrCat("the regular expression '", std::string(pattern),
                                                 "' cannot be used: ", ErrorText(error), " at offset ",
                                                 offset));
  }
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // where it cannot be done, matching is only slower
  return std::unique_ptr<Regex>(new Regex(std::string(pattern), code));
}

absl::StatusOr<std::unique_ptr<Regex>> Regex::Compile(std::string_view pattern) {
  // Class intersection in the dialect of these files; for PCRE2 two plain characters.
  if (pattern.find("&&") != pattern.npos) {
    return absl::UnimplementedError(
        absl::StrCat("the regular expression '", std::string(pattern),
                     "' intersects character classes (&&), which is not supported"));
  }
  return CompileWith(pattern, PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C);
}

absl::StatusOr<std::unique_ptr<Regex>> Regex::CompileLiteral(std::string_view text) {
  LONGSPAN_CHECK(!text.empty());
  return CompileWith(text, PCRE2_UTF | PCRE2_LITERAL);
}

Regex::~Regex() { pcre2_code_free(code_); }

absl::Status Regex::FindAll(std::string_view text, std::vector<TextRange>* matches) const {
  MatchState& state = MatchState::OfThisThread();
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const PCRE2_SIZE* range = pcre2_get_ovector_pointer(state.data());
  size_t from = 0;
  while (from <= text.size()) {
    const int result =
        pcre2_match(code_, subject, text.size(), from, PCRE2_NO_UTF_CHECK, state.data(), state.context());
    if (result == PCRE2_ERROR_NOMATCH) break;
    if (result < 0) {
      return absl::ResourceExhaustedError(
          absl::StrCat("the regular expression '", pattern_, "' gave up on this text at byte ", from, ": ",
                       ErrorText(result), "; send a shorter or plainer text"));
    }
    matches->push_back({range[0], range[1]});
    from = range[1];
    if (range[0] == range[1]) from += from < text.size() ? DecodeUtf8(text, from).length : 1;
  }
  return absl::OkStatus();
}

}  // namespace longspan
