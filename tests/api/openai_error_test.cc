#include "runtime/api/openai_error.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace longspan {
namespace {

using nlohmann::json;

TEST(OpenAiError, StatusAndTypeFollowTheCode) {
  struct Case {
    absl::StatusCode code;
    int status;
    const char* type;
  };
  for (const Case& c : std::initializer_list<Case>{
           {absl::StatusCode::kInvalidArgument, 400, "invalid_request_error"},
           {absl::StatusCode::kUnauthenticated, 401, "authentication_error"},
           {absl::StatusCode::kPermissionDenied, 403, "permission_error"},
           {absl::StatusCode::kNotFound, 404, "not_found_error"},
           {absl::StatusCode::kOutOfRange, 413, "invalid_request_error"},
           {absl::StatusCode::kResourceExhausted, 429, "rate_limit_error"},
           {absl::StatusCode::kCancelled, 499, "invalid_request_error"},
           {absl::StatusCode::kInternal, 500, "server_error"},
           {absl::StatusCode::kUnimplemented, 501, "server_error"},
           {absl::StatusCode::kUnavailable, 503, "server_error"},
           {absl::StatusCode::kDeadlineExceeded, 504, "server_error"},
       }) {
    const absl::Status status(c.code, "what happened");
    EXPECT_EQ(HttpStatus(status), c.status);
    EXPECT_EQ(
        json::parse(ErrorBody(status)),
        (json{{"error",
               {{"message", "what happened"}, {"type", c.type}, {"param", nullptr}, {"code", nullptr}}}}));
  }
}

TEST(OpenAiError, CarriesWhatIsKnown) {
  absl::Status status = InvalidField("messages[1].content", "is 5; it must be a string");
  status = WithCode(std::move(status), "invalid_type");
  status = WithRetryAfter(std::move(status), 1.2);
  EXPECT_EQ(ErrorParam(status), "messages[1].content");
  EXPECT_EQ(RetryAfterSeconds(status), 2);
  EXPECT_EQ(ErrorBody(status),
            R"({"error":{"message":"'messages[1].content' is 5; it must be a string",)"
            R"("type":"invalid_request_error","param":"messages[1].content","code":"invalid_type"}})");
  EXPECT_EQ(ErrorEvent(status), "data: " + ErrorBody(status) + "\n\n");

  status = WithHttpStatus(absl::InvalidArgumentError("GET only"), 405);
  EXPECT_EQ(HttpStatus(status), 405);
  EXPECT_EQ(json::parse(ErrorBody(status))["error"]["type"], "invalid_request_error");
}

TEST(OpenAiError, TheFirstToKnowDecides) {
  const absl::Status status = WithParam(InvalidField("stop", "is 5"), "prompt");
  EXPECT_EQ(ErrorParam(status), "stop");
  EXPECT_TRUE(WithParam(absl::OkStatus(), "prompt").ok());
  EXPECT_EQ(ErrorParam(absl::InternalError("")), std::nullopt);
  EXPECT_EQ(ErrorCode(absl::InternalError("")), std::nullopt);
  EXPECT_EQ(RetryAfterSeconds(absl::InternalError("")), std::nullopt);
}

TEST(OpenAiError, RetryAfterIsAWholeNumberOfSecondsWithinADay) {
  const auto seconds = [](double s) {
    return *RetryAfterSeconds(WithRetryAfter(absl::UnavailableError(""), s));
  };
  EXPECT_EQ(seconds(0), 1);
  EXPECT_EQ(seconds(-3), 1);
  EXPECT_EQ(seconds(7), 7);
  EXPECT_EQ(seconds(1e300), 86400);
  EXPECT_EQ(seconds(std::numeric_limits<double>::quiet_NaN()), 1);
}

TEST(OpenAiError, BodiesAreUtf8) {
  EXPECT_EQ(
      json::parse(ErrorBody(absl::InternalError("a\xFF\"\\\n\x01\xC5\x82\xE2\x82")))["error"]["message"],
      "a\uFFFD\"\\\n\x01\u0142\uFFFD");
}

}  // namespace
}  // namespace longspan
