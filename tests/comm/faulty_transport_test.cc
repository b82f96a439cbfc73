#include "comm/faulty_transport.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>

#include "comm/in_process_transport.h"
#include "tests/comm/transport_worlds.h"

namespace longspan {
namespace {

constexpr size_t kMessages = 400, kHeaderBytes = 4, kPayloadBytes = 50;

struct Outcome {
  std::vector<std::pair<Bytes, Bytes>> received;
  std::vector<size_t> failed;  // numbers of messages
  size_t done = 0;
};

std::pair<Bytes, Bytes> Original(size_t number) {
  Bytes header(kHeaderBytes);
  for (size_t i = 0; i < kHeaderBytes; ++i) header[i] = std::byte(static_cast<uint8_t>(number >> (8 * i)));
  return {header, Pattern(number, kPayloadBytes)};
}

Outcome SendAll(const FaultyTransportOptions& options, ManualClock* clock = nullptr) {
  const auto network = CreateInProcessNetwork();
  const auto receiver = network->CreateTransport({});
  const auto sender = CreateFaultyTransport(network->CreateTransport({}), options);
  const auto connection = *sender->Connect(receiver->address());
  Outcome outcome;
  const auto receive = [&](ReceivedMessage message) {
    outcome.received.emplace_back(message.header, ToBytes(message.payload));
  };
  for (size_t number = 0; number < kMessages; ++number) {
    const auto [header, payload] = Original(number);
    EXPECT_EQ(SendBytes(*connection, header, payload,
                        [&, number](const absl::Status& status) {
                          ++outcome.done;
                          if (!status.ok()) outcome.failed.push_back(number);
                        }),
              absl::OkStatus());
    sender->Progress(Ignore);
    receiver->Progress(receive);
    if (clock != nullptr) clock->Advance(std::chrono::milliseconds(1));
  }
  for (int i = 0; i < 100; ++i) {
    sender->Progress(Ignore);
    receiver->Progress(receive);
    if (clock != nullptr) clock->Advance(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(outcome.done, kMessages);
  return outcome;
}

std::vector<std::pair<Bytes, Bytes>> Originals() {
  std::vector<std::pair<Bytes, Bytes>> all;
  for (size_t number = 0; number < kMessages; ++number) all.push_back(Original(number));
  return all;
}

// A fault of probability a quarter, within six standard deviations.
void ExpectAQuarter(size_t count) {
  EXPECT_GT(count, 48u);
  EXPECT_LT(count, 152u);
}

TEST(FaultyTransport, WithoutFaultsNothingHappens) { EXPECT_TRUE(SendAll({}).received == Originals()); }

TEST(FaultyTransport, FaultsFollowTheSeed) {
  FaultyTransportOptions options = {.seed = 4,
                                    .fail = 0.1,
                                    .drop = 0.1,
                                    .duplicate = 0.1,
                                    .flip = 0.1,
                                    .truncate = 0.1,
                                    .delay = 0.1,
                                    .reorder = 0.1};
  const Outcome once = SendAll(options);
  EXPECT_TRUE(SendAll(options).received == once.received);
  options.seed = 5;
  EXPECT_TRUE(SendAll(options).received != once.received);
}

TEST(FaultyTransport, FailedAndDroppedMessagesDoNotArrive) {
  const Outcome failing = SendAll({.seed = 1, .fail = 0.25});
  ExpectAQuarter(failing.failed.size());
  std::vector<std::pair<Bytes, Bytes>> expected;
  for (size_t number = 0; number < kMessages; ++number) {
    if (std::find(failing.failed.begin(), failing.failed.end(), number) == failing.failed.end()) {
      expected.push_back(Original(number));
    }
  }
  EXPECT_TRUE(failing.received == expected);

  const Outcome dropping = SendAll({.seed = 1, .drop = 0.25});
  ExpectAQuarter(kMessages - dropping.received.size());
  EXPECT_TRUE(dropping.failed.empty());
}

TEST(FaultyTransport, DoubledMessagesFollowEachOther) {
  const Outcome outcome = SendAll({.seed = 1, .duplicate = 0.25});
  ExpectAQuarter(outcome.received.size() - kMessages);
  std::vector<std::pair<Bytes, Bytes>> received = outcome.received;
  received.erase(std::unique(received.begin(), received.end()), received.end());
  EXPECT_TRUE(received == Originals());
}

TEST(FaultyTransport, OneBitIsFlippedAnywhere) {
  const Outcome outcome = SendAll({.seed = 1, .flip = 0.25});
  ASSERT_EQ(outcome.received.size(), kMessages);
  size_t in_headers = 0, in_payloads = 0;
  for (size_t number = 0; number < kMessages; ++number) {
    const auto flipped = [](const Bytes& a, const Bytes& b) {
      size_t bits = 0;
      for (size_t i = 0; i < a.size(); ++i)
        bits += static_cast<size_t>(std::popcount(std::to_integer<unsigned>(a[i] ^ b[i])));
      return bits;
    };
    const auto& [header, payload] = outcome.received[number];
    const auto [original_header, original_payload] = Original(number);
    const size_t header_bits = flipped(header, original_header),
                 payload_bits = flipped(payload, original_payload);
    EXPECT_LE(header_bits + payload_bits, 1u);
    in_headers += header_bits;
    in_payloads += payload_bits;
  }
  ExpectAQuarter(in_headers + in_payloads);
  EXPECT_GT(in_headers, 0u);
  EXPECT_GT(in_payloads, in_headers);
}

TEST(FaultyTransport, TruncatedMessagesLackTheirEnd) {
  const Outcome outcome = SendAll({.seed = 1, .truncate = 0.25});
  ASSERT_EQ(outcome.received.size(), kMessages);
  size_t truncated = 0;
  for (size_t number = 0; number < kMessages; ++number) {
    auto [header, payload] = Original(number);
    truncated += outcome.received[number].second.size() < payload.size() ? 1 : 0;
    payload.resize(outcome.received[number].second.size());
    EXPECT_TRUE(outcome.received[number] == std::pair(header, payload));
  }
  ExpectAQuarter(truncated);
}

TEST(FaultyTransport, DelayKeepsTheOrderAndReorderDoesNot) {
  ManualClock clock;
  for (const Clock* used : {static_cast<const Clock*>(nullptr), static_cast<const Clock*>(&clock)}) {
    FaultyTransportOptions options = {
        .seed = 1, .delay = 0.25, .clock = used, .max_delay = std::chrono::milliseconds(16)};
    EXPECT_TRUE(SendAll(options, &clock).received == Originals());
    std::swap(options.delay, options.reorder);
    Outcome outcome = SendAll(options, &clock);
    EXPECT_TRUE(outcome.received != Originals());
    std::sort(outcome.received.begin(), outcome.received.end(), [](const auto& a, const auto& b) {
      return std::to_integer<int>(a.first[0]) + 256 * std::to_integer<int>(a.first[1]) <
             std::to_integer<int>(b.first[0]) + 256 * std::to_integer<int>(b.first[1]);
    });
    EXPECT_TRUE(outcome.received == Originals());
  }
}

TEST(FaultyTransport, LateMessagesWaitForTheClock) {
  const auto network = CreateInProcessNetwork();
  const auto receiver = network->CreateTransport({});
  ManualClock clock;
  const auto sender = CreateFaultyTransport(
      network->CreateTransport({}), {.delay = 1, .clock = &clock, .max_delay = std::chrono::seconds(10)});
  const auto connection = *sender->Connect(receiver->address());
  size_t received = 0;
  EXPECT_EQ(SendBytes(*connection, {}, Bytes(1)), absl::OkStatus());
  const auto step = [&] {
    for (int i = 0; i < 50; ++i) {
      sender->Progress(Ignore);
      receiver->Progress([&](ReceivedMessage) { ++received; });
    }
    return received;
  };
  EXPECT_EQ(step(), 0u);
  clock.Advance(std::chrono::seconds(10));
  EXPECT_TRUE(sender->Wait(kPatience));
  EXPECT_EQ(step(), 1u);
}

}  // namespace
}  // namespace longspan
