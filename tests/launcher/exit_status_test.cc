#include "launcher/exit_status.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "comm/thread_bootstrap.h"
#include "launcher/failure.h"

namespace longspan {
namespace {

TEST(ExitStatusTest, CodesTellUsageFromFailure) {
  EXPECT_EQ(ExitCode(absl::OkStatus()), 0);
  EXPECT_EQ(ExitCode(absl::InvalidArgumentError("bad model")), 1);
  EXPECT_EQ(ExitCode(UsageError("bad option")), 2);
}

TEST(ExitStatusTest, MessagesAreOneLine) {
  EXPECT_EQ(OneLineMessage(absl::InternalError("a\nb\r\nc")), "a b  c");
  EXPECT_EQ(OneLineMessage(absl::Status(absl::StatusCode::kAborted, "")), "ABORTED");
}

TEST(ExitStatusTest, SurvivesTheWayToAnotherRank) {
  for (const absl::Status& status :
       {absl::OkStatus(), absl::Status(absl::UnknownError("x")), UsageError("y")}) {
    const absl::Status parsed = ParseStatus(SerializeStatus(status));
    EXPECT_EQ(ExitCode(parsed), ExitCode(status));
    EXPECT_EQ(parsed.message(), status.message());
  }
  EXPECT_EQ(ParseStatus("").code(), absl::StatusCode::kInternal);
  EXPECT_EQ(ParseStatus("?x").code(), absl::StatusCode::kInternal);
}

// What each of three ranks gets back when it says the status at its place.
std::vector<absl::Status> Agree(const std::vector<absl::Status>& said) {
  auto bootstraps = CreateThreadBootstraps(static_cast<int>(said.size()));
  std::vector<absl::Status> heard(said.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < said.size(); ++i) {
    threads.emplace_back([&, i] { heard[i] = AgreeOn(*bootstraps[i], said[i]); });
  }
  for (std::thread& thread : threads) thread.join();
  return heard;
}

TEST(ExitStatusTest, AllRanksAgreeOnTheFirstError) {
  for (const absl::Status& heard : Agree({absl::OkStatus(), absl::OkStatus(), absl::OkStatus()})) {
    EXPECT_TRUE(heard.ok());
  }
  for (const absl::Status& heard : Agree({UsageError("same"), UsageError("same"), UsageError("same")})) {
    EXPECT_EQ(heard.message(), "same");
    EXPECT_EQ(ExitCode(heard), 2);
  }
  for (const absl::Status& heard :
       Agree({absl::OkStatus(), absl::OkStatus(), absl::NotFoundError("no file")})) {
    EXPECT_EQ(heard.message().find("rank 2 ("), 0u) << heard;
    EXPECT_NE(heard.message().find("): no file"), absl::string_view::npos) << heard;
    EXPECT_EQ(ExitCode(heard), 1);
  }
}

}  // namespace
}  // namespace longspan
