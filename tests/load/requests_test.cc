// The bodies of requests.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "absl/strings/str_split.h"
#include "launcher/load/prompts.h"
#include "launcher/load/request_format.h"

namespace longspan::load {
namespace {

using nlohmann::json;

PlannedRequest Planned(int64_t input_tokens, std::vector<int64_t> block_ids = {}) {
  PlannedRequest request;
  request.input_tokens = input_tokens;
  request.output_tokens = 9;
  request.block_ids = std::move(block_ids);
  request.block_tokens = 10;
  return request;
}

std::vector<int> Ids(const Prompts& prompts, const PlannedRequest& request, int64_t index) {
  return json::parse(prompts.Json(request, index)).get<std::vector<int>>();
}

TEST(PromptsTest, IdsComeFromThePool) {
  std::vector<int32_t> pool;
  for (int32_t id = 0; id < 200; ++id) pool.push_back(5000 + id);
  const Prompts prompts = Prompts::OfIds(pool, 1);
  const std::vector<int> first = Ids(prompts, Planned(1000), 0);
  EXPECT_EQ(first.size(), 1000u);
  for (const int id : first) EXPECT_TRUE(id >= 5000 && id < 5200);
  EXPECT_EQ(Ids(prompts, Planned(1000), 0), first);
  // Others share no beginning worth keeping.
  for (int64_t index = 1; index < 50; ++index) {
    const std::vector<int> other = Ids(prompts, Planned(1000), index);
    EXPECT_FALSE(std::equal(first.begin(), first.begin() + 4, other.begin()));
  }
  EXPECT_NE(Ids(Prompts::OfIds(pool, 2), Planned(1000), 0), first);
}

TEST(PromptsTest, EqualBlocksAreEqualTokens) {
  std::vector<int32_t> pool;
  for (int32_t id = 0; id < 200; ++id) pool.push_back(id);
  const Prompts prompts = Prompts::OfIds(pool, 1);
  const std::vector<int> a = Ids(prompts, Planned(40, {3, 4, 5, 6}), 0);
  const std::vector<int> b = Ids(prompts, Planned(35, {3, 4, 7, 8}), 1);
  EXPECT_TRUE(std::equal(a.begin(), a.begin() + 20, b.begin()));
  EXPECT_FALSE(std::equal(a.begin() + 20, a.begin() + 30, b.begin() + 20));
  // Beyond the blocks that are named, each request is its own.
  const std::vector<int> c = Ids(prompts, Planned(40, {3}), 2), d = Ids(prompts, Planned(40, {3}), 3);
  EXPECT_TRUE(std::equal(c.begin(), c.begin() + 10, d.begin()));
  EXPECT_FALSE(std::equal(c.begin() + 10, c.begin() + 20, d.begin() + 10));
}

TEST(PromptsTest, TextHasAsManyWordsAsItsTokensTake) {
  const auto words = [](const Prompts& prompts, int64_t tokens) {
    const std::string text = json::parse(prompts.Json(Planned(tokens), 0)).get<std::string>();
    return std::ssize(std::vector<std::string>(absl::StrSplit(text, ' ')));
  };
  EXPECT_EQ(words(Prompts::OfText({}, 1), 100), 100);
  EXPECT_EQ(words(Prompts::OfText({.per_word = 1.5, .fixed = 10}, 1), 100), 60);
  EXPECT_EQ(words(Prompts::OfText({.per_word = 1, .fixed = 10}, 1), 5), 1);
}

TEST(RequestFormatTest, Bodies) {
  const RequestFormat completions =
      RequestFormat::Create(Endpoint::kCompletions, "m\"x", "{\"ignore_eos\": null, \"priority\": 3}",
                            Prompts::OfIds({7}, 0))
          .value();
  EXPECT_EQ(completions.Path(), "/v1/completions");
  EXPECT_EQ(json::parse(completions.Body(Planned(3), 0)),
            json::parse(R"({"model": "m\"x", "temperature": 0, "stream": true,
                            "stream_options": {"include_usage": true}, "priority": 3, "max_tokens": 9,
                            "prompt": [7, 7, 7]})"));
  EXPECT_EQ(
      json::parse(completions.ProbeBody("\"a\"")),
      json::parse(R"({"model": "m\"x", "temperature": 0, "priority": 3, "max_tokens": 1, "prompt": "a"})"));
  const RequestFormat chat = RequestFormat::Create(Endpoint::kChat, "", "", Prompts::OfText({}, 0)).value();
  EXPECT_EQ(chat.Path(), "/v1/chat/completions");
  const json body = json::parse(chat.Body(Planned(3), 0));
  EXPECT_FALSE(body.contains("model"));
  EXPECT_EQ(body["ignore_eos"], true);
  EXPECT_EQ(body["messages"][0]["role"], "user");
  for (const char* extra : {"[]", "{", "{\"prompt\": 1}", "{\"max_tokens\": 1}"}) {
    EXPECT_FALSE(RequestFormat::Create(Endpoint::kChat, "", extra, Prompts::OfText({}, 0)).ok()) << extra;
  }
}

}  // namespace
}  // namespace longspan::load
