#include "launcher/load/url.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace longspan::load {
namespace {

bool IsDefaultPort(const Url& url) { return url.port == (url.tls ? "443" : "80"); }

bool IsPlain(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return c > ' ' && c < 0x7f && c != '@' && c != '?' && c != '#'; });
}

}  // namespace

std::string Url::Authority() const {
  const std::string name = host.find(':') == std::string::npos ? host : absl::StrCat("[", host, "]");
  return IsDefaultPort(*this) ? name : absl::StrCat(name, ":", port);
}

std::string Url::ToString() const {
  return absl::StrCat(tls ? "https://" : "http://", Authority(), base_path);
}

absl::StatusOr<Url> ParseUrl(std::string_view text) {
  const auto wrong = [whole = std::string(text)](std::string_view why) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", whole, "' ", std::string(why), "; give http://HOST:PORT or https://HOST:PORT"));
  };
  if (!IsPlain(text)) return wrong("holds what the address of a server cannot");
  Url url;
  std::string_view rest = text;
  if (const size_t end = text.find("://"); end != std::string_view::npos) {
    const std::string_view scheme = text.substr(0, end);
    if (scheme != "http" && scheme != "https") return wrong("is neither http nor https");
    url.tls = scheme == "https";
    rest.remove_prefix(end + 3);
  }
  const size_t slash = std::min(rest.find('/'), rest.size());
  std::string_view authority = rest.substr(0, slash);
  std::string_view path = rest.substr(slash);
  while (path.ends_with('/')) path.remove_suffix(1);
  if (path.ends_with("/v1")) path.remove_suffix(3);
  url.base_path = std::string(path);

  if (authority.starts_with('[')) {
    const size_t close = authority.find(']');
    if (close == std::string_view::npos) return wrong("lacks a ]");
    url.host = std::string(authority.substr(1, close - 1));
    authority.remove_prefix(close + 1);
  } else {
    const size_t colon = std::min(authority.find(':'), authority.size());
    url.host = std::string(authority.substr(0, colon));
    authority.remove_prefix(colon);
  }
  if (url.host.empty()) return wrong("names no host");
  url.port = url.tls ? "443" : "80";
  if (!authority.empty()) {
    int port = 0;
    const std::string digits(authority.substr(1));
    if (authority.front() != ':' || !absl::SimpleAtoi(digits, &port) || port < 1 || port > 65535) {
      return wrong("has a port that is not a number from 1 to 65535");
    }
    url.port = absl::StrCat(port);
  }
  return url;
}

}  // namespace longspan::load
