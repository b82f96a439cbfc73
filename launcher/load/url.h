// Where a server is.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace longspan::load {

struct Url {
  bool tls = false;
  std::string host;       // without the brackets of an IPv6 address
  std::string port;       // a number
  std::string base_path;  // empty, or begins with a slash and does not end with one

  // As the Host header has it.
  std::string Authority() const;
  // The whole of it, for people.
  std::string ToString() const;
};

// http://HOST[:PORT][/PATH] or https://…; the scheme may be left out. A path that ends in /v1, as OpenAI's
// clients are given it, stands for what is before it. InvalidArgument says what is wrong.
absl::StatusOr<Url> ParseUrl(std::string_view text);

}  // namespace longspan::load
