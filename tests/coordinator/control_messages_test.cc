#include "runtime/coordinator/control_messages.h"

#include <chrono>
#include <functional>
#include <limits>

#include "gtest/gtest.h"

namespace longspan {
namespace {

// As it arrives.
template <typename Message>
Message Sent(const Message& message) {
  Message received;
  EXPECT_TRUE(received.ParseFromString(message.SerializeAsString()));
  return received;
}

GroupDescription Description() {
  GroupDescription group;
  group.name = "alpha";
  group.role = GroupRole::kDecode;
  group.identity = {.protocol = 3, .model = "a model", .tokenizer = "a tokenizer", .numerics = "64 bf16"};
  group.build = "1.2 (abc)";
  group.rank_invariant = true;
  group.tp = 2;
  group.hosts = {"a", "b", "c", "d"};
  group.page_bytes = {1, 2, 3, uint64_t{1} << 40};
  group.transport_addresses = {"1", "2", std::string("\0\xff", 2), ""};
  group.geometry = {.block_size = 64,
                    .kvp = 2,
                    .groups = {{.window = 512, .pages_per_block = 5}, {.window = 0, .pages_per_block = 1}},
                    .pages_per_rank = {1000, 2000}};
  group.max_sequences = 32;
  group.max_context = 1'000'000'000'000;
  group.chunk_tokens = 2048;
  group.prompt_logits_chunk = 128;
  return group;
}

TEST(ControlMessagesTest, ADescriptionArrivesAsItWas) {
  for (const GroupRole role : {GroupRole::kMixed, GroupRole::kPrefill, GroupRole::kDecode}) {
    GroupDescription group = Description();
    group.role = role;
    const auto arrived = FromMessage(Sent(ToMessage(group)));
    ASSERT_TRUE(arrived.ok()) << arrived.status();
    EXPECT_EQ(arrived->name, group.name);
    EXPECT_EQ(arrived->role, role);
    EXPECT_TRUE(arrived->identity.CheckEqual(group.identity).ok());
    EXPECT_EQ(arrived->build, group.build);
    EXPECT_EQ(arrived->rank_invariant, group.rank_invariant);
    EXPECT_EQ(arrived->tp, group.tp);
    EXPECT_EQ(arrived->hosts, group.hosts);
    EXPECT_EQ(arrived->page_bytes, group.page_bytes);
    EXPECT_EQ(arrived->transport_addresses, group.transport_addresses);
    EXPECT_EQ(arrived->geometry.block_size, 64);
    EXPECT_EQ(arrived->geometry.kvp, 2);
    ASSERT_EQ(arrived->geometry.groups.size(), 2u);
    for (size_t i = 0; i < 2; ++i) {
      EXPECT_EQ(arrived->geometry.groups[i].window, group.geometry.groups[i].window);
      EXPECT_EQ(arrived->geometry.groups[i].pages_per_block, group.geometry.groups[i].pages_per_block);
    }
    EXPECT_EQ(arrived->geometry.pages_per_rank, group.geometry.pages_per_rank);
    EXPECT_EQ(arrived->max_sequences, 32);
    EXPECT_EQ(arrived->max_context, 1'000'000'000'000);
    EXPECT_EQ(arrived->chunk_tokens, 2048);
    EXPECT_EQ(arrived->prompt_logits_chunk, 128);
    // Whatever is added to it later too.
    EXPECT_EQ(ToMessage(*arrived).SerializeAsString(), ToMessage(group).SerializeAsString());
  }
}

TEST(ControlMessagesTest, ARegistrationThatNoGroupCanSendIsRefusedByName) {
  using control::Register;
  const struct {
    std::string names;
    std::function<void(Register&)> change;
  } cases[] = {
      {"role 7", [](Register& m) { m.set_role(static_cast<control::Role>(7)); }},
      {"a tp of 0", [](Register& m) { m.set_tp(0); }},
      {"a tp of -2", [](Register& m) { m.set_tp(-2); }},
      {"kvp width of 0", [](Register& m) { m.set_kvp(0); }},
      {"2 ranks for a kvp width of 3", [](Register& m) { m.set_kvp(3); }},
      {"2 ranks for a kvp width of 2147483647", [](Register& m) { m.set_kvp(2147483647); }},
      {"number of hosts of 3", [](Register& m) { m.mutable_hosts()->RemoveLast(); }},
      {"number of hosts of 4", [](Register& m) { m.set_tp(2147483647); }},
      {"number of page sizes of 5", [](Register& m) { m.add_page_bytes(1); }},
      {"number of transport addresses of 5", [](Register& m) { m.add_transport_addresses("5"); }},
      {"block of 0 tokens", [](Register& m) { m.set_block_size(0); }},
      {"no layer groups", [](Register& m) { m.clear_layer_groups(); }},
      {"window of -1", [](Register& m) { m.mutable_layer_groups(0)->set_window(-1); }},
      {"0 pages a block", [](Register& m) { m.mutable_layer_groups(0)->set_pages_per_block(0); }},
      {"a rank with -5 pages", [](Register& m) { m.set_pages(1, -5); }},
      {"max_sequences of 0", [](Register& m) { m.set_max_sequences(0); }},
      {"max_context of -1", [](Register& m) { m.set_max_context(-1); }},
      {"chunk_tokens of 0", [](Register& m) { m.set_chunk_tokens(0); }},
      {"prompt_logits_chunk of 0", [](Register& m) { m.set_prompt_logits_chunk(0); }},
      {"block of 0 tokens", [](Register& m) { m.Clear(); }},
  };
  for (const auto& c : cases) {
    Register message = ToMessage(Description());
    c.change(message);
    const absl::Status status = FromMessage(Sent(message)).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << c.names;
    EXPECT_NE(status.message().find(c.names), std::string::npos) << c.names << ": " << status;
  }
}

GroupStatus Status() {
  GroupStatus status;
  EngineSnapshot& engine = status.engine;
  engine.steps = 1;
  engine.prefill_tokens_total = 2;
  engine.decode_tokens_total = 3;
  engine.prefill_seconds_total = 4.5;
  engine.decode_seconds_total = 5.5;
  engine.prefill_tokens_per_s = 6.5;
  engine.decode_step_s = 0.125;
  for (const bool decoding : {true, false, true}) {
    SequenceSnapshot& sequence = engine.sequences.emplace_back();
    sequence.id = 100 + std::ssize(engine.sequences);
    sequence.priority = -3;
    sequence.decoding = decoding;
    sequence.prompt_tokens = 7;
    sequence.computed_tokens = 8;
    sequence.output_tokens = 9;
    sequence.max_tokens = 10;
    sequence.pages_in_use = {11, 12};
    sequence.pages_reserved = {13, 14};
  }
  for (const int64_t capacity : {20, 30}) {
    KvRankSnapshot& rank = engine.ranks.emplace_back();
    rank.capacity = capacity;
    rank.reserved = 15;
    rank.in_use = 14;
    rank.waste_ratio = 0.25;
    rank.map = {{.owner = 101, .pages = 5}, {.owner = 0, .pages = capacity - 5}};
  }
  for (size_t op = 0; op < kNumCommOps; ++op) {
    status.comm.bytes[op] = 10 * op + 1;
    status.comm.operations[op] = 10 * op + 2;
    status.comm.seconds[op] = 10 * static_cast<double>(op) + 0.5;
  }
  return status;
}

TEST(ControlMessagesTest, AStatusArrivesAsItWas) {
  const GroupStatus status = Status();
  const auto arrived = FromMessage(Sent(ToMessage(status)), 2);
  ASSERT_TRUE(arrived.ok()) << arrived.status();
  const EngineSnapshot& engine = arrived->engine;
  EXPECT_EQ(engine.steps, 1);
  EXPECT_EQ(engine.prefill_tokens_total, 2);
  EXPECT_EQ(engine.decode_tokens_total, 3);
  EXPECT_EQ(engine.prefill_seconds_total, 4.5);
  EXPECT_EQ(engine.decode_seconds_total, 5.5);
  EXPECT_EQ(engine.prefill_tokens_per_s, 6.5);
  EXPECT_EQ(engine.decode_step_s, 0.125);
  EXPECT_EQ(engine.decoding, 2);
  EXPECT_EQ(engine.prefilling, 1);
  ASSERT_EQ(engine.sequences.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    const SequenceSnapshot &got = engine.sequences[i], &sent = status.engine.sequences[i];
    EXPECT_EQ(got.id, sent.id);
    EXPECT_EQ(got.priority, -3);
    EXPECT_EQ(got.decoding, sent.decoding);
    EXPECT_EQ(got.prompt_tokens, 7);
    EXPECT_EQ(got.computed_tokens, 8);
    EXPECT_EQ(got.output_tokens, 9);
    EXPECT_EQ(got.max_tokens, 10);
    EXPECT_EQ(got.pages_in_use, sent.pages_in_use);
    EXPECT_EQ(got.pages_reserved, sent.pages_reserved);
  }
  ASSERT_EQ(engine.ranks.size(), 2u);
  for (size_t k = 0; k < 2; ++k) {
    const KvRankSnapshot &got = engine.ranks[k], &sent = status.engine.ranks[k];
    EXPECT_EQ(got.capacity, sent.capacity);
    EXPECT_EQ(got.reserved, 15);
    EXPECT_EQ(got.in_use, 14);
    EXPECT_EQ(got.waste_ratio, 0.25);
    ASSERT_EQ(got.map.size(), 2u);
    EXPECT_EQ(got.map[0].owner, 101);
    EXPECT_EQ(got.map[0].pages, 5);
    EXPECT_EQ(got.map[1].pages, sent.map[1].pages);
  }
  EXPECT_EQ(arrived->comm.bytes, status.comm.bytes);
  EXPECT_EQ(arrived->comm.operations, status.comm.operations);
  EXPECT_EQ(arrived->comm.seconds, status.comm.seconds);
}

TEST(ControlMessagesTest, AStatusOfAnotherShapeIsRefused) {
  const control::Status right = ToMessage(Status());
  EXPECT_TRUE(absl::IsInvalidArgument(FromMessage(right, 1).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(FromMessage(control::Status(), 2).status()));
  for (const auto& change : {+[](control::Status& m) { m.mutable_ranks()->RemoveLast(); },
                             +[](control::Status& m) { m.mutable_ranks(0)->add_owners(3); },
                             +[](control::Status& m) { m.mutable_sequences(1)->clear_pages_in_use(); },
                             +[](control::Status& m) { m.mutable_sequences(1)->add_pages_reserved(3); }}) {
    control::Status message = right;
    change(message);
    EXPECT_TRUE(absl::IsInvalidArgument(FromMessage(Sent(message), 2).status()));
  }
  // Operations of a later build are left out.
  control::Status message = right;
  for (const int op : {-1, kNumCommOps, 1000}) message.add_comm()->set_op(op);
  const auto arrived = FromMessage(message, 2);
  ASSERT_TRUE(arrived.ok()) << arrived.status();
  EXPECT_EQ(arrived->comm.bytes, Status().comm.bytes);
}

TEST(ControlMessagesTest, ARequestArrivesAsItWas) {
  Request request;
  request.prompt = {1, 2, 300000};
  request.generated = {5, 0};
  request.max_tokens = 77;
  request.sampling = {.temperature = 0.7,
                      .top_k = 40,
                      .top_p = 0.9,
                      .min_p = 0.05,
                      .repetition_penalty = 1.1,
                      .presence_penalty = -0.5,
                      .frequency_penalty = 0.25,
                      .logit_bias = {{3, -100.0F}, {4, 0.1F}},
                      .seed = std::numeric_limits<uint64_t>::max()};
  request.ignore_eos = true;
  request.prompt_logits = true;
  request.first_logits = 4;
  request.logprobs = 0;
  request.grammar = std::string("{\"a\0\"}", 6);
  request.shift = 3;
  const control::Start message = Sent(ToMessage(12, request));
  EXPECT_EQ(message.run(), 12);
  const Request arrived = FromMessage(message);
  EXPECT_EQ(arrived.prompt, request.prompt);
  EXPECT_EQ(arrived.generated, request.generated);
  EXPECT_EQ(arrived.max_tokens, 77);
  EXPECT_EQ(arrived.sampling.temperature, 0.7);
  EXPECT_EQ(arrived.sampling.top_k, 40);
  EXPECT_EQ(arrived.sampling.top_p, 0.9);
  EXPECT_EQ(arrived.sampling.min_p, 0.05);
  EXPECT_EQ(arrived.sampling.repetition_penalty, 1.1);
  EXPECT_EQ(arrived.sampling.presence_penalty, -0.5);
  EXPECT_EQ(arrived.sampling.frequency_penalty, 0.25);
  EXPECT_EQ(arrived.sampling.logit_bias, request.sampling.logit_bias);
  EXPECT_EQ(arrived.sampling.seed, request.sampling.seed);
  EXPECT_TRUE(arrived.ignore_eos);
  EXPECT_TRUE(arrived.prompt_logits);
  EXPECT_EQ(arrived.first_logits, 4);
  EXPECT_EQ(arrived.logprobs, 0);
  EXPECT_EQ(arrived.grammar, request.grammar);
  EXPECT_EQ(arrived.shift, 3);

  request.logprobs.reset();
  EXPECT_FALSE(FromMessage(Sent(ToMessage(12, request))).logprobs.has_value());
}

TEST(ControlMessagesTest, TokensArriveAsTheyWere) {
  using std::chrono::milliseconds;
  GeneratedToken token{.id = 9, .pace = {milliseconds(20), milliseconds(35)}, .logprobs = std::nullopt};
  control::Token message = Sent(ToMessage(4, token));
  EXPECT_EQ(message.run(), 4);
  GeneratedToken arrived = FromMessage(message);
  EXPECT_EQ(arrived.id, 9);
  EXPECT_EQ(arrived.pace.gap, milliseconds(20));
  EXPECT_EQ(arrived.pace.most_held, milliseconds(35));
  EXPECT_FALSE(arrived.logprobs.has_value());

  const double nothing = -std::numeric_limits<double>::infinity();
  token.logprobs = {.chosen = {9, -0.25}, .top = {{8, -0.125}, {7, nothing}}};
  arrived = FromMessage(Sent(ToMessage(4, token)));
  ASSERT_TRUE(arrived.logprobs.has_value());
  EXPECT_EQ(arrived.logprobs->chosen.token, 9);
  EXPECT_EQ(arrived.logprobs->chosen.logprob, -0.25);
  ASSERT_EQ(arrived.logprobs->top.size(), 2u);
  EXPECT_EQ(arrived.logprobs->top[0].token, 8);
  EXPECT_EQ(arrived.logprobs->top[1].logprob, nothing);

  // Times that are none do no harm.
  message.set_gap_ns(-1);
  message.set_most_held_ns(std::numeric_limits<int64_t>::max());
  arrived = FromMessage(message);
  EXPECT_EQ(arrived.pace.gap, Clock::Duration::zero());
  EXPECT_GT(arrived.pace.After(SteadyClock().Now(), SteadyClock().Now()), Clock::Time());
}

class EndListener final : public ResponseListener {
 public:
  bool OnToken(const GeneratedToken&) override { return true; }
  void OnFinish(FinishReason reason) override { ends.emplace_back(Name(reason)); }
  void OnError(const absl::Status& error) override { ends.push_back(error.ToString()); }
  std::vector<std::string> ends;
};

TEST(ControlMessagesTest, EndsArriveAsTheyWere) {
  EndListener listener;
  std::vector<std::string> expected;
  for (const FinishReason reason : {FinishReason::kStop, FinishReason::kLength, FinishReason::kCancelled,
                                    FinishReason::kDeadline, FinishReason::kError}) {
    const control::End message = Sent(EndMessage(5, reason));
    EXPECT_EQ(message.run(), 5);
    TellEnd(message, listener);
    expected.emplace_back(Name(reason));
  }
  for (const absl::Status& error :
       {absl::ResourceExhaustedError("it is full"), absl::InvalidArgumentError("a grammar of nothing")}) {
    TellEnd(Sent(EndMessage(5, error)), listener);
    expected.push_back(error.ToString());
  }
  control::End unknown;
  unknown.set_reason(static_cast<control::FinishReason>(77));
  TellEnd(Sent(unknown), listener);
  expected.push_back("INTERNAL: the group ends it for reason 77");
  EXPECT_EQ(listener.ends, expected);
}

}  // namespace
}  // namespace longspan
