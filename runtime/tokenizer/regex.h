// Regular expressions over UTF-8 text (PCRE2, compiled to machine code).
//
// Threads: immutable; may be used from any thread.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

struct pcre2_real_code_8;

namespace longspan {

// Bytes [begin, end) of a text.
struct TextRange {
  size_t begin;
  size_t end;
};

class Regex {
 public:
  // An expression as tokenizer.json files carry them (see oniguruma_syntax.h). One that cannot be compiled is
  // an Unimplemented error that quotes it.
  static absl::StatusOr<std::unique_ptr<Regex>> Compile(std::string_view pattern);
  // Matches the text itself, which must not be empty.
  static absl::StatusOr<std::unique_ptr<Regex>> CompileLiteral(std::string_view text);
  // Whether PCRE2 itself takes the expression.
  static bool CanCompile(std::string_view pcre2_pattern);
  ~Regex();
  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;

  // Appends all matches that do not overlap, left to right. `text` must be UTF-8. Fails when a text is too
  // intricate for the expression.
  absl::Status FindAll(std::string_view text, std::vector<TextRange>* matches) const;

 private:
  Regex(std::string pattern, pcre2_real_code_8* code) : pattern_(std::move(pattern)), code_(code) {}
  static absl::StatusOr<std::unique_ptr<Regex>> CompileWith(std::string_view pattern,
                                                            std::string_view translated, uint32_t options);

  std::string pattern_;
  pcre2_real_code_8* code_;
};

}  // namespace longspan
