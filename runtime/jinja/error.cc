#include "runtime/jinja/error.h"

namespace longspan::jinja {

std::string Concatenate(std::initializer_list<std::string_view> parts) {
  std::string text;
  for (const std::string_view part : parts) text += part;
  return text;
}

void Fail(std::initializer_list<std::string_view> parts) {
  throw Error{absl::StatusCode::kInvalidArgument, Concatenate(parts)};
}

void Exhausted(std::initializer_list<std::string_view> parts) {
  throw Error{absl::StatusCode::kResourceExhausted, Concatenate(parts)};
}

void Unsupported(std::initializer_list<std::string_view> parts, int line) {
  throw Error{absl::StatusCode::kUnimplemented, Concatenate(parts), line};
}

}  // namespace longspan::jinja
