#include "runtime/tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/status_macros.h"
#include "runtime/tokenizer/oniguruma_syntax.h"
#include "runtime/tokenizer/utf8.h"

namespace longspan {
namespace {

// \C would match a part of a character.
constexpr uint32_t kSyntax = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;

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

absl::StatusOr<std::unique_ptr<Regex>> Regex::CompileWith(std::string_view pattern,
                                                          std::string_view translated, uint32_t options) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  const std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
      pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
  LONGSPAN_CHECK(context != nullptr);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                                   options, &error, &offset, context.get());
  if (code == nullptr) {
    return absl::UnimplementedError(absl::StrCat("the regular expression '", std::string(pattern),
                                                 "' cannot be used: ", ErrorText(error)));
  }
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // where it cannot be done, matching is only slower
  return std::unique_ptr<Regex>(new Regex(std::string(pattern), code));
}

absl::StatusOr<std::unique_ptr<Regex>> Regex::Compile(std::string_view pattern) {
  LONGSPAN_ASSIGN_OR_RETURN(const std::string translated, OnigurumaToPcre2(pattern));
  return CompileWith(pattern, translated, kSyntax);
}

bool Regex::CanCompile(std::string_view pcre2_pattern) {
  return CompileWith(pcre2_pattern, pcre2_pattern, kSyntax).ok();
}

absl::StatusOr<std::unique_ptr<Regex>> Regex::CompileLiteral(std::string_view text) {
  LONGSPAN_CHECK(!text.empty());
  return CompileWith(text, text, PCRE2_UTF | PCRE2_LITERAL);
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
