#include "launcher/generation_report.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include <nlohmann/json.hpp>

namespace longspan {
namespace {

using nlohmann::json;

GroupReport TwoRanks() {
  GroupReport report;
  report.tp = 1;
  report.kvp = 2;
  report.hosts = {"north", "south"};
  report.weight_bytes = {132540006, 132540006};
  report.kv_bytes = {100 << 20, 100 << 20};
  report.comm_bytes = {3000, 5000};
  report.comm_operations = {30, 30};
  return report;
}

TEST(GenerationReportTest, JsonHasTheAgreedFields) {
  ManualClock clock;
  GenerationOptions options;
  options.prompt = {1, 2, 3, 4};
  options.digest = true;
  Generation generation(std::move(options), nullptr, clock);
  clock.Advance(std::chrono::milliseconds(500));
  generation.OnToken(9);
  clock.Advance(std::chrono::milliseconds(250));
  generation.OnToken(8);
  generation.OnToken(7);
  generation.OnFinish(FinishReason::kLength);
  const std::string line = RenderJson(generation, 1.5, TwoRanks());
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  const json object = json::parse(line);
  EXPECT_FALSE(object.contains("logprobs"));
  EXPECT_TRUE(object["text"].is_null());
  EXPECT_EQ(object["prompt_token_ids"], json({1, 2, 3, 4}));
  EXPECT_EQ(object["token_ids"], json({9, 8, 7}));
  EXPECT_EQ(object["finish_reason"], "length");
  EXPECT_EQ(object["logits_digest"].get<std::string>().size(), 32u);
  EXPECT_EQ(object["usage"], json({{"prompt_tokens", 4}, {"completion_tokens", 3}, {"cached_tokens", 0}}));
  EXPECT_EQ(object["timing"], json({{"load_s", 1.5},
                                    {"ttft_s", 0.5},
                                    {"tpot_s", 0.125},
                                    {"e2e_s", 0.75},
                                    {"prefill_tokens_per_s", 8.0},
                                    {"decode_tokens_per_s", 8.0}}));
  EXPECT_EQ(object["group"], json({{"ranks", 2},
                                   {"tp", 1},
                                   {"kvp", 2},
                                   {"weight_bytes_per_rank", {132540006, 132540006}},
                                   {"kv_bytes_per_rank", {100 << 20, 100 << 20}},
                                   {"comm_bytes_per_rank", {3000, 5000}},
                                   {"comm_ops_per_rank", {30, 30}}}));
}

TEST(GenerationReportTest, LogprobsHaveOpenAisShape) {
  const ManualClock clock;
  GenerationOptions options;
  options.logprobs = 1;
  Generation generation(std::move(options), nullptr, clock);
  generation.OnLogits(0, std::vector<float>{0, 0, -std::numeric_limits<float>::infinity()});
  generation.OnToken(1);
  generation.OnLogits(1, std::vector<float>{-std::numeric_limits<float>::infinity(), 5, 5});
  generation.OnToken(0);
  generation.OnFinish(FinishReason::kLength);
  const json content = json::parse(RenderJson(generation, 0, TwoRanks()))["logprobs"]["content"];
  ASSERT_EQ(content.size(), 2u);
  const json first = {{"id", 0}, {"token", nullptr}, {"bytes", nullptr}, {"logprob", -std::log(2.0)}};
  EXPECT_EQ(content[0]["id"], 1);
  EXPECT_EQ(content[0]["top_logprobs"], json::array({first}));
  EXPECT_EQ(content[1]["logprob"], -9999);
  EXPECT_EQ(content[1]["top_logprobs"][0]["id"], 1);
}

TEST(GenerationReportTest, OneTokenHasNoDecodeSpeed) {
  ManualClock clock;
  Generation generation({}, nullptr, clock);
  clock.Advance(std::chrono::milliseconds(500));
  generation.OnToken(9);
  generation.OnFinish(FinishReason::kStop);
  const json timing = json::parse(RenderJson(generation, 0, TwoRanks()))["timing"];
  EXPECT_TRUE(timing["tpot_s"].is_null());
  EXPECT_TRUE(timing["decode_tokens_per_s"].is_null());
}

TEST(GenerationReportTest, RefusalsAreObjectsToo) {
  const json object = json::parse(RenderRefusal("too \"long\"", 3));
  EXPECT_EQ(object["error"]["message"], "too \"long\"");
  EXPECT_EQ(object["error"]["request"], 3);
}

TEST(GenerationReportTest, TheAccountExplainsWhoHeldWhat) {
  Account account;
  account.group = TwoRanks();
  account.numerics.isa = Isa::kAvx512;
  account.kv_bytes_used = {1536 * 1024, 1024 * 1024};
  account.prompt_tokens = 6;
  account.generated_tokens = 65;
  account.comm_bytes = 64 * 2 * 2048;
  account.comm_operations = 64 * 2 * 73;
  account.comm_tokens = 64;
  account.first_token_s = 0.25;
  account.decode_s = 2;
  account.decoded_tokens = 64;
  EXPECT_EQ(RenderAccount(account),
            "2 ranks share the model, tp 1 x kvp 2 (heads x KV blocks):\n"
            "  rank 0 on north: weights 126.4 MiB (1/2 of every matrix), KV cache 1.5 MiB used of 100.0 MiB "
            "(every 2nd "
            "block of 64 tokens)\n"
            "  rank 1 on south: weights 126.4 MiB (1/2 of every matrix), KV cache 1.0 MiB used of 100.0 MiB "
            "(every 2nd "
            "block of 64 tokens)\n"
            "  each rank sent 2.0 KiB in 73 operations for each generated token\n"
            "6 prompt tokens in, first token after 0.25 s, then 32.0 tokens/s; 65 tokens out\n"
            "Numerics: block 64, kv BF16, activations auto, isa avx512, ways 8\n"
            "The same prompt gives the same bits on 1, 2, 4 or 8 ranks.\n");
}

TEST(GenerationReportTest, SizesForPeople) {
  EXPECT_EQ(HumanSize(0), "0 B");
  EXPECT_EQ(HumanSize(1023), "1023 B");
  EXPECT_EQ(HumanSize(1536), "1.5 KiB");
  EXPECT_EQ(HumanSize(253113024), "241.4 MiB");
  EXPECT_EQ(HumanSize(5.0 * (int64_t{1} << 50)), "5120.0 TiB");
}

}  // namespace
}  // namespace longspan
