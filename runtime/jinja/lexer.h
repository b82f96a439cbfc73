// Cuts a template into tokens, as jinja2 with trim_blocks and lstrip_blocks: the first line break after a
// block or comment is dropped, and so are blanks between the start of a line and a block or comment; - strips
// all white space on its side, + keeps it. One line break at the end of the template is dropped, and line
// breaks are made \n.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/jinja/value.h"

namespace longspan::jinja {

enum class TokenType : uint8_t {
  kData,
  kVariableBegin,
  kVariableEnd,
  kBlockBegin,
  kBlockEnd,
  kName,
  kString,
  kNumber,
  kOperator,
  kEnd,
};

struct Token {
  TokenType type;
  int line;
  std::string text;  // of a string literal what it means; of everything else what is written
  Value number;      // of kNumber
};

// The last token is kEnd. Throws Error. The source must be UTF-8.
std::vector<Token> Tokenize(std::string_view source);

}  // namespace longspan::jinja
