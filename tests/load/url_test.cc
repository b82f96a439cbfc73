#include "launcher/load/url.h"

#include <gtest/gtest.h>

#include "launcher/duration.h"

namespace longspan {
namespace {

using load::ParseUrl;
using load::Url;

TEST(UrlTest, Parses) {
  const struct {
    const char* text;
    Url url;
    const char* whole;
  } cases[] = {
      {"http://127.0.0.1:8000", {false, "127.0.0.1", "8000", ""}, "http://127.0.0.1:8000"},
      {"localhost:8000/v1/", {false, "localhost", "8000", ""}, "http://localhost:8000"},
      {"https://host", {true, "host", "443", ""}, "https://host"},
      {"http://host/a/b/v1", {false, "host", "80", "/a/b"}, "http://host/a/b"},
      {"http://[::1]:80/", {false, "::1", "80", ""}, "http://[::1]"},
  };
  for (const auto& c : cases) {
    const absl::StatusOr<Url> url = ParseUrl(c.text);
    ASSERT_TRUE(url.ok()) << url.status();
    EXPECT_EQ(url->tls, c.url.tls);
    EXPECT_EQ(url->host, c.url.host);
    EXPECT_EQ(url->port, c.url.port);
    EXPECT_EQ(url->base_path, c.url.base_path);
    EXPECT_EQ(url->ToString(), c.whole);
  }
  for (const char* text : {"", "http://", "ftp://h", "http://h:0", "http://h:99999", "http://h:x",
                           "http://[::1", "http://u@h", "http://h\r\nX: y", "http://h/?a", "http://[::1]x"}) {
    EXPECT_FALSE(ParseUrl(text).ok()) << text;
  }
}

TEST(DurationTest, Parses) {
  EXPECT_DOUBLE_EQ(ParseDuration("500ms").value(), 0.5);
  EXPECT_DOUBLE_EQ(ParseDuration("1.5s").value(), 1.5);
  EXPECT_DOUBLE_EQ(ParseDuration("2m").value(), 120);
  EXPECT_DOUBLE_EQ(ParseDuration("1h").value(), 3600);
  EXPECT_DOUBLE_EQ(ParseDuration("30").value(), 30);
  EXPECT_DOUBLE_EQ(ParseDuration("0").value(), 0);
  for (const char* text : {"", "s", "ms", "-1s", "1 s", "1d", "nan", "infs", "1e3", "1.2.3"}) {
    EXPECT_FALSE(ParseDuration(text).ok()) << text;
  }
}

}  // namespace
}  // namespace longspan
