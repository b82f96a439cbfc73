#include "launcher/generation_report.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace longspan {
namespace {

using nlohmann::ordered_json;

// Seconds that did not pass have no rate, and a time that was not reached is unknown: null for both.
ordered_json Rate(int64_t count, std::optional<double> seconds) {
  return seconds && *seconds > 0 && count > 0 ? ordered_json(static_cast<double>(count) / *seconds)
                                              : ordered_json(nullptr);
}

ordered_json Seconds(std::optional<double> seconds) {
  return seconds ? ordered_json(*seconds) : ordered_json(nullptr);
}

ordered_json RenderTiming(const Generation& generation, double load_s) {
  const auto decoded = static_cast<int64_t>(generation.tokens().size()) - 1;
  std::optional<double> decode_s;
  if (decoded > 0) decode_s = *generation.last_token_s() - *generation.first_token_s();
  return {
      {"load_s", load_s},
      {"ttft_s", Seconds(generation.first_token_s())},
      {"tpot_s", decode_s ? ordered_json(*decode_s / static_cast<double>(decoded)) : ordered_json(nullptr)},
      {"e2e_s", generation.end_to_end_s()},
      {"prefill_tokens_per_s",
       Rate(static_cast<int64_t>(generation.prompt().size()), generation.first_token_s())},
      {"decode_tokens_per_s", Rate(decoded, decode_s)},
  };
}

ordered_json RenderGroup(const GroupReport& group) {
  return {
      {"ranks", group.tp * group.kvp},
      {"tp", group.tp},
      {"kvp", group.kvp},
      {"weight_bytes_per_rank", group.weight_bytes},
      {"kv_bytes_per_rank", group.kv_bytes},
      {"comm_bytes_per_rank", group.comm_bytes},
      {"comm_ops_per_rank", group.comm_operations},
  };
}

ordered_json RenderLogprob(const TokenLogprob& token, const Tokenizer* tokenizer) {
  constexpr double kLeast = -9999;  // JSON has no infinity
  ordered_json object = {{"id", token.token},
                         {"token", nullptr},
                         {"logprob", std::max(token.logprob, kLeast)},
                         {"bytes", nullptr}};
  if (tokenizer != nullptr) {
    const std::string spelling = tokenizer->Spelling(token.token);
    object["token"] = spelling;  // bytes that are no text become U+FFFD when it is printed
    object["bytes"] = std::vector<uint8_t>(spelling.begin(), spelling.end());
  }
  return object;
}

ordered_json RenderLogprobs(const Generation& generation) {
  ordered_json content = ordered_json::array();
  for (const PositionLogprobs& position : *generation.logprobs()) {
    ordered_json& token = content.emplace_back(RenderLogprob(position.chosen, generation.tokenizer()));
    token["top_logprobs"] = ordered_json::array();
    for (const TokenLogprob& likely : position.top) {
      token["top_logprobs"].push_back(RenderLogprob(likely, generation.tokenizer()));
    }
  }
  return {{"content", std::move(content)}};
}

std::string Ordinal(int n) {
  const int last = n % 10;
  const bool teen = n % 100 / 10 == 1;
  const char* ending = teen || last == 0 || last > 3 ? "th" : last == 1 ? "st" : last == 2 ? "nd" : "rd";
  return absl::StrCat(n, ending);
}

std::string DescribeBlocks(const Account& account) {
  const std::string size = absl::StrCat(account.numerics.block_size, " tokens");
  std::string text = account.group.kvp == 1
                         ? absl::StrCat("every block of ", size)
                         : absl::StrCat("every ", Ordinal(account.group.kvp), " block of ", size);
  if (account.group.tp > 1) absl::StrAppend(&text, ", 1/", account.group.tp, " of the KV heads");
  return text;
}

std::string RenderRank(const Account& account, int rank) {
  const GroupReport& group = account.group;
  const auto i = static_cast<size_t>(rank);
  const int ranks = group.tp * group.kvp;
  const std::string share = ranks == 1 ? "all" : absl::StrCat("1/", ranks, " of every matrix");
  const auto used = static_cast<double>(account.kv_bytes_used[static_cast<size_t>(rank % group.kvp)]);
  return absl::StrFormat("  rank %d on %s: weights %s (%s), KV cache %s used of %s (%s)\n", rank,
                         group.hosts[i], HumanSize(static_cast<double>(group.weight_bytes[i])), share,
                         HumanSize(used), HumanSize(static_cast<double>(group.kv_bytes[i])),
                         DescribeBlocks(account));
}

}  // namespace

std::string HumanSize(double bytes) {
  const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  while (bytes >= 1024 && unit + 1 < std::size(units)) {
    bytes /= 1024;
    ++unit;
  }
  return absl::StrFormat(unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
}

std::string RenderJson(const Generation& generation, double load_s, const GroupReport& group) {
  ordered_json object = {
      {"text", generation.tokenizer() != nullptr ? ordered_json(generation.text()) : ordered_json(nullptr)},
      {"prompt_token_ids", generation.prompt()},
      {"token_ids", generation.tokens()},
      {"finish_reason", std::string(Name(generation.reason()))},
      {"logits_digest", generation.digest()},
  };
  if (generation.logprobs()) object["logprobs"] = RenderLogprobs(generation);
  object.update(ordered_json{
      {"usage",
       {{"prompt_tokens", generation.prompt().size()},
        {"completion_tokens", generation.tokens().size()},
        {"cached_tokens", 0}}},
      {"timing", RenderTiming(generation, load_s)},
      {"group", RenderGroup(group)},
  });
  return object.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

std::string RenderRefusal(const std::string& message, int64_t number) {
  const ordered_json object = {{"error", {{"message", message}, {"request", number}}}};
  return object.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

std::string RenderAccount(const Account& account) {
  const GroupReport& group = account.group;
  const int ranks = group.tp * group.kvp;
  std::string text = ranks == 1
                         ? "One rank runs the model:\n"
                         : absl::StrFormat("%d ranks share the model, tp %d x kvp %d (heads x KV blocks):\n",
                                           ranks, group.tp, group.kvp);
  for (int rank = 0; rank < ranks; ++rank) absl::StrAppend(&text, RenderRank(account, rank));
  if (ranks > 1 && account.comm_tokens > 0) {
    const double share = static_cast<double>(ranks) * static_cast<double>(account.comm_tokens);
    absl::StrAppendFormat(&text, "  each rank sent %s in %.0f operations for each generated token\n",
                          HumanSize(static_cast<double>(account.comm_bytes) / share),
                          static_cast<double>(account.comm_operations) / share);
  }
  absl::StrAppendFormat(&text, "%d prompt tokens in, first token after %.2f s", account.prompt_tokens,
                        account.first_token_s);
  if (account.decode_s > 0 && account.decoded_tokens > 0) {
    absl::StrAppendFormat(&text, ", then %.1f tokens/s",
                          static_cast<double>(account.decoded_tokens) / account.decode_s);
  }
  absl::StrAppendFormat(&text, "; %d tokens out\n", account.generated_tokens);
  absl::StrAppendFormat(&text, "Numerics: %s\n", account.numerics.ToString());
  if (account.numerics.ways == kReductionWays) {
    absl::StrAppend(&text, "The same prompt gives the same bits on 1, 2, 4 or 8 ranks.\n");
  }
  return text;
}

}  // namespace longspan
