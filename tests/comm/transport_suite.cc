// What every transport promises (comm/transport.h).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <numeric>
#include <optional>
#include <random>
#include <thread>

#include "comm/faulty_transport.h"
#include "comm/in_process_transport.h"
#include "comm/ucx_transport.h"
#include "tests/comm/transport_worlds.h"

namespace longspan {
namespace {

std::unique_ptr<Transport> MakeUcx(const TransportOptions& options) {
  UcxTransportOptions ucx_options;
  static_cast<TransportOptions&>(ucx_options) = options;
  ucx_options.devices = "lo";
  absl::StatusOr<std::unique_ptr<Transport>> transport = CreateUcxTransport(ucx_options);
  EXPECT_EQ(transport.status(), absl::OkStatus());
  return transport.ok() ? *std::move(transport) : nullptr;
}

MakeTransport MakeInProcess() {
  return [network = CreateInProcessNetwork()](const TransportOptions& options) {
    return network->CreateTransport(options);
  };
}

std::vector<TransportWorld> Worlds() {
  return {{"ucx_tcp", [] { return MakeTransport(MakeUcx); }},
          {"in_process", [] { return MakeInProcess(); }},
          // Late messages are in order, and nothing else happens to them.
          {"late", [] {
             return [make = MakeInProcess()](const TransportOptions& options) {
               return CreateFaultyTransport(make(options), {.seed = 3, .delay = 0.2});
             };
           }}};
}

class TransportSuite : public testing::TestWithParam<TransportWorld> {
 protected:
  std::unique_ptr<Transport> Make(size_t max_pending_bytes = TransportOptions().max_pending_bytes) {
    return make_({.max_pending_bytes = max_pending_bytes});
  }
  static std::unique_ptr<TransportConnection> Connect(Transport& from, const Transport& to) {
    absl::StatusOr<std::unique_ptr<TransportConnection>> connection = from.Connect(to.address());
    EXPECT_EQ(connection.status(), absl::OkStatus());
    return *std::move(connection);
  }

  const MakeTransport make_ = GetParam().create();
};

// What is late has been copied, and is not bounded.
class TransportBounds : public TransportSuite {};

// Cuts `bytes` into `count` parts of uneven lengths, some of them empty.
std::vector<ByteSpan> Cut(ByteSpan bytes, size_t count) {
  std::vector<ByteSpan> parts;
  for (size_t i = 0; i + 1 < count; ++i) {
    const size_t length = i % 3 == 1 ? 0 : bytes.size() / (count - i);
    parts.push_back(bytes.first(length));
    bytes = bytes.subspan(length);
  }
  parts.push_back(bytes);
  return parts;
}

TEST_P(TransportSuite, MessagesOfAllSizesAndPartsArriveAsTheyWereSent) {
  const auto sender = Make(), receiver = Make();
  const auto connection = Connect(*sender, *receiver);
  EXPECT_EQ(connection->peer(), receiver->id());
  size_t number = 0;
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{100}, size_t{2048}, size_t{8000}, size_t{8192},
                             size_t{65'536}, size_t{65'537}, size_t{300'001}, kMaxPayloadBytes}) {
    for (const size_t count : {1, 2, 7, 64}) {
      SCOPED_TRACE(testing::Message() << bytes << " bytes in " << count << " parts");
      const Bytes header = Pattern(number, std::vector<size_t>{0, 100, kMaxHeaderBytes}[number % 3]);
      const Bytes payload = Pattern(++number, bytes);
      std::optional<absl::Status> done;
      EXPECT_EQ(
          connection->Send(header, Cut(payload, count), [&](const absl::Status& status) { done = status; }),
          absl::OkStatus());
      EXPECT_FALSE(done.has_value());  // not within Send
      std::optional<ReceivedMessage> received;
      ASSERT_TRUE(StepUntil(
          {sender.get(), receiver.get()},
          [&](ReceivedMessage message) {
            EXPECT_FALSE(received.has_value());
            received = std::move(message);
          },
          [&] { return received.has_value() && done.has_value(); }));
      EXPECT_EQ(*done, absl::OkStatus());
      EXPECT_EQ(received->from, sender->id());
      EXPECT_TRUE(received->header == header);
      EXPECT_TRUE(ToBytes(received->payload) == payload);
      EXPECT_EQ(connection->pending_bytes(), 0u);
    }
  }
  EXPECT_EQ(connection->Send({}, {}, {}), absl::OkStatus());  // no part at all, and nobody who listens
  ASSERT_TRUE(StepUntil({sender.get(), receiver.get()}, Ignore,
                        [&] { return receiver->counters().received_messages == number + 1; }));
  EXPECT_EQ(sender->counters().sent_messages, number + 1);
  EXPECT_EQ(sender->counters().sent_bytes, receiver->counters().received_bytes);
  EXPECT_GE(sender->counters().sent_bytes, 4 * kMaxPayloadBytes);
  EXPECT_EQ(receiver->counters().refused_messages, 0u);
}

// Each keeps as much in flight as it may, in sizes that take different ways through the network.
TEST_P(TransportSuite, MessagesOfManySendersArriveInTheOrderOfEach) {
  constexpr size_t kSenders = 4, kMessages = 60;
  constexpr size_t kSizes[] = {10, 3'000, 9'000, 0, 70'000, 200'000};
  const auto receiver = Make();
  std::vector<std::unique_ptr<Transport>> senders;
  std::vector<std::unique_ptr<TransportConnection>> connections;
  std::vector<Transport*> all = {receiver.get()};
  for (size_t s = 0; s < kSenders; ++s) {
    senders.push_back(Make(1'000'000));
    connections.push_back(Connect(*senders.back(), *receiver));
    all.push_back(senders.back().get());
  }
  std::vector<size_t> sent(kSenders), done(kSenders);
  std::map<uint64_t, size_t> received;
  const auto send_more = [&] {
    for (size_t s = 0; s < kSenders; ++s) {
      while (sent[s] < kMessages && connections[s]->CanSend(4 + kSizes[(sent[s] + s) % 6])) {
        const size_t bytes = kSizes[(sent[s] + s) % 6];
        EXPECT_EQ(SendBytes(*connections[s], Pattern(sent[s], 4), Pattern(sent[s] + s, bytes),
                            [&done, s](const absl::Status& status) {
                              EXPECT_EQ(status, absl::OkStatus());
                              ++done[s];
                            }),
                  absl::OkStatus());
        ++sent[s];
      }
    }
  };
  const bool finished = StepUntil(
      all,
      [&](ReceivedMessage message) {
        size_t s = 0;
        while (s < kSenders && senders[s]->id() != message.from) ++s;
        ASSERT_LT(s, kSenders);
        const size_t number = received[message.from]++;
        EXPECT_TRUE(message.header == Pattern(number, 4)) << "message " << number << " of sender " << s;
        EXPECT_TRUE(ToBytes(message.payload) == Pattern(number + s, kSizes[(number + s) % 6]));
      },
      [&] {
        send_more();
        return receiver->counters().received_messages == kSenders * kMessages &&
               std::accumulate(done.begin(), done.end(), size_t{0}) == kSenders * kMessages;
      });
  EXPECT_TRUE(finished);
}

TEST_P(TransportSuite, HandlersMaySendAndMessagesMayBeKept) {
  const auto a = Make(), b = Make();
  const auto to_b = Connect(*a, *b), to_a = Connect(*b, *a);
  std::vector<ReceivedMessage> kept, answers;
  for (size_t i = 0; i < 20; ++i) {
    EXPECT_EQ(SendBytes(*to_b, Pattern(i, 8), Pattern(i, 50'000 * (i % 4))), absl::OkStatus());
  }
  ASSERT_TRUE(StepUntil(
      {a.get(), b.get()},
      [&](ReceivedMessage message) {
        if (message.from == b->id()) {
          answers.push_back(std::move(message));
          return;
        }
        EXPECT_EQ(SendBytes(*to_a, message.header, ToBytes(message.payload)), absl::OkStatus());
        kept.push_back(std::move(message));
      },
      [&] { return answers.size() == 20; }));
  for (size_t i = 0; i < 20; ++i) {
    EXPECT_TRUE(kept[i].header == Pattern(i, 8));
    EXPECT_TRUE(ToBytes(kept[i].payload) == Pattern(i, 50'000 * (i % 4)));
    EXPECT_TRUE(ToBytes(answers[i].payload) == Pattern(i, 50'000 * (i % 4)));
  }
}

TEST_P(TransportSuite, ATransportMaySendToItself) {
  const auto transport = Make();
  const auto connection = Connect(*transport, *transport);
  size_t received = 0;
  for (const size_t bytes : {0, 5, 500'000}) {
    EXPECT_EQ(SendBytes(*connection, {}, Pattern(1, bytes)), absl::OkStatus());
  }
  EXPECT_TRUE(StepUntil(
      {transport.get()},
      [&](ReceivedMessage message) {
        EXPECT_TRUE(ToBytes(message.payload) == Pattern(1, message.payload.size()));
        ++received;
      },
      [&] { return received == 3; }));
}

TEST_P(TransportSuite, WhatExceedsTheBoundsOfAMessageIsRefused) {
  const auto sender = Make(), receiver = Make();
  const auto connection = Connect(*sender, *receiver);
  const Bytes large(kMaxPayloadBytes), more(1), header(kMaxHeaderBytes + 1);
  const auto not_called = [](const absl::Status&) { ADD_FAILURE() << "done of what was not taken"; };
  const absl::Status too_large = connection->Send({}, std::vector<ByteSpan>{large, more}, not_called);
  EXPECT_EQ(too_large.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(too_large.message()),
              testing::HasSubstr("a payload of 1048577 bytes exceeds the 1048576"));
  EXPECT_EQ(connection->Send(header, {}, not_called).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(connection->status(), absl::OkStatus());
  EXPECT_EQ(connection->pending_bytes(), 0u);
  size_t received = 0;
  EXPECT_EQ(SendBytes(*connection, {}, Pattern(1, 3)), absl::OkStatus());
  EXPECT_TRUE(StepUntil(
      {sender.get(), receiver.get()}, [&](ReceivedMessage) { ++received; }, [&] { return received > 0; }));
}

TEST_P(TransportBounds, AReceiverThatDoesNothingIsFelt) {
  constexpr size_t kMaxPending = 2'500'000;
  const auto sender = Make(kMaxPending), receiver = Make(), other = Make();
  const auto connection = Connect(*sender, *receiver), to_other = Connect(*sender, *other);
  size_t sent = 0, done = 0, received = 0, received_by_other = 0;
  absl::Status status;
  while (status.ok() && sent < 1000) {  // the network takes some, but not this much
    status = SendBytes(*connection, {}, Bytes(kMaxPayloadBytes), [&](const absl::Status& status) {
      EXPECT_EQ(status, absl::OkStatus());
      ++done;
    });
    if (status.ok()) ++sent;
    EXPECT_LE(connection->pending_bytes(), kMaxPending);
    sender->Progress(Ignore);
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("2500000"));
  EXPECT_FALSE(connection->CanSend(kMaxPayloadBytes));
  EXPECT_TRUE(connection->CanSend(100));
  EXPECT_EQ(connection->status(), absl::OkStatus());

  // Others do not feel it.
  EXPECT_EQ(SendBytes(*to_other, {}, Bytes(kMaxPayloadBytes)), absl::OkStatus());
  EXPECT_TRUE(StepUntil(
      {sender.get(), other.get()}, [&](ReceivedMessage) { ++received_by_other; },
      [&] { return received_by_other == 1; }));
  EXPECT_TRUE(StepUntil(
      {sender.get(), receiver.get()}, [&](ReceivedMessage) { ++received; },
      [&] { return received == sent && done == sent; }));
  EXPECT_TRUE(connection->CanSend(kMaxPayloadBytes));
}

TEST_P(TransportBounds, EmptyMessagesAreBoundedToo) {
  const auto sender = Make(1000), receiver = Make();
  const auto connection = Connect(*sender, *receiver);
  size_t sent = 0, received = 0;
  while (connection->CanSend(0) && sent < 1000) {  // nothing is done before Progress
    EXPECT_EQ(connection->Send({}, {}, {}), absl::OkStatus());
    ++sent;
  }
  EXPECT_EQ(sent, 15u);
  EXPECT_EQ(connection->Send({}, {}, {}).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(StepUntil(
      {sender.get(), receiver.get()}, [&](ReceivedMessage) { ++received; },
      [&] { return received == sent && connection->pending_bytes() == 0; }));
}

TEST_P(TransportSuite, AMessageLargerThanWhatMayBePendingIsTakenAlone) {
  const auto sender = Make(1), receiver = Make();
  const auto connection = Connect(*sender, *receiver);
  size_t received = 0;
  EXPECT_EQ(SendBytes(*connection, {}, Bytes(1000)), absl::OkStatus());
  EXPECT_TRUE(StepUntil(
      {sender.get(), receiver.get()}, [&](ReceivedMessage) { ++received; },
      [&] { return received == 1 && connection->CanSend(1000); }));
}

TEST_P(TransportSuite, WakeEndsAWaitOfAnotherThread) {
  const auto transport = Make();
  while (transport->Progress(Ignore)) {
  }
  EXPECT_FALSE(transport->Wait(std::chrono::milliseconds(1)));
  transport->Wake();
  EXPECT_TRUE(transport->Wait(kPatience));  // it need not be waiting yet
  EXPECT_FALSE(transport->Wait(std::chrono::milliseconds(1)));
  std::atomic<bool> waiting = false, asked = false;
  std::thread owner([&] {
    waiting = true;
    while (!asked) EXPECT_TRUE(transport->Wait(kPatience));
  });
  while (!waiting) std::this_thread::yield();
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  asked = true;
  transport->Wake();
  owner.join();
}

// Both sleep whenever there is nothing to do: every wait must be ended by what comes.
TEST_P(TransportSuite, ThreadsThatSleepAreWokenByWhatArrives) {
  constexpr size_t kRounds = 50;
  const auto a = Make(), b = Make();
  const auto to_b = Connect(*a, *b), to_a = Connect(*b, *a);
  const auto play = [&](Transport& own, TransportConnection& connection, bool begins) {
    size_t received = 0;
    const auto send = [&] {
      EXPECT_EQ(SendBytes(connection, Pattern(received, 3), Pattern(received, 10'000 * (received % 7))),
                absl::OkStatus());
    };
    if (begins) send();
    while (received < kRounds || connection.pending_bytes() > 0) {
      const bool progressed = own.Progress([&](ReceivedMessage) {
        if (++received < kRounds + (begins ? 0 : 1)) send();
      });
      if (!progressed && !own.Wait(kPatience)) {
        ADD_FAILURE() << "nothing came after " << received << " messages";
        return;
      }
    }
  };
  std::thread other([&] { play(*b, *to_a, false); });
  play(*a, *to_b, true);
  other.join();
}

TEST_P(TransportSuite, ClosingAConnectionCancelsItsSendsAlone) {
  const auto sender = Make(), receiver = Make(), other = Make();
  auto connection = Connect(*sender, *receiver);
  const auto to_other = Connect(*sender, *other);
  size_t done = 0, cancelled = 0, received_by_other = 0;
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(SendBytes(*connection, {}, Bytes(kMaxPayloadBytes),
                        [&](const absl::Status& status) {
                          ++done;
                          cancelled += absl::IsCancelled(status) ? 1 : 0;
                        }),
              absl::OkStatus());
    EXPECT_EQ(SendBytes(*to_other, {}, Bytes(100'000)), absl::OkStatus());
  }
  connection.reset();
  EXPECT_TRUE(StepUntil(
      {sender.get(), other.get()}, [&](ReceivedMessage) { ++received_by_other; },
      [&] { return done == 6 && received_by_other == 6; }));
  if (GetParam().name != "late") {
    EXPECT_GT(cancelled, 0u);
  }
  // The receiver is none the worse for it.
  connection = Connect(*sender, *receiver);
  bool arrived = false;
  EXPECT_EQ(SendBytes(*connection, Pattern(9, 9), {}), absl::OkStatus());
  EXPECT_TRUE(StepUntil(
      {sender.get(), receiver.get()},
      [&](ReceivedMessage message) { arrived |= message.header == Pattern(9, 9); }, [&] { return arrived; }));
}

TEST_P(TransportSuite, APeerIsConnectedToOnceAtATime) {
  const auto sender = Make(), receiver = Make();
  auto connection = Connect(*sender, *receiver);
  std::vector<size_t> received;
  for (size_t round = 0; round < 5; ++round) {
    EXPECT_EQ(sender->Connect(receiver->address()).status().code(), absl::StatusCode::kAlreadyExists);
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(SendBytes(*connection, {}, Bytes(1 + round * 3 + i)), absl::OkStatus());
    }
    ASSERT_TRUE(StepUntil(
        {sender.get(), receiver.get()},
        [&](ReceivedMessage message) { received.push_back(message.payload.size()); },
        [&] { return received.size() == (round + 1) * 3; }));
    connection.reset();
    connection = Connect(*sender, *receiver);
  }
  std::vector<size_t> expected(15);
  std::iota(expected.begin(), expected.end(), 1);
  EXPECT_EQ(received, expected);
}

TEST_P(TransportSuite, APeerThatEndsFailsItsConnectionAlone) {
  const auto sender = Make(), other = Make();
  auto receiver = Make();
  const std::string address = receiver->address();
  auto connection = Connect(*sender, *receiver);
  const auto to_other = Connect(*sender, *other);
  size_t received = 0;
  EXPECT_EQ(SendBytes(*connection, {}, Bytes(10)), absl::OkStatus());
  ASSERT_TRUE(StepUntil(
      {sender.get(), receiver.get()}, [&](ReceivedMessage) { ++received; }, [&] { return received == 1; }));
  size_t sent = 0, done = 0, failed = 0;
  while (connection->CanSend(kMaxPayloadBytes)) {
    const absl::Status taken =
        SendBytes(*connection, {}, Bytes(kMaxPayloadBytes), [&](const absl::Status& status) {
          ++done;
          failed += status.ok() ? 0 : 1;
        });
    ASSERT_EQ(taken, absl::OkStatus());
    if (++sent == 100) break;
    // The network fills up.
    for (int i = 0; i < 10; ++i) {
      sender->Progress(Ignore);
      sender->Wait(std::chrono::milliseconds(1));
    }
  }
  receiver.reset();
  size_t received_by_other = 0;
  EXPECT_EQ(SendBytes(*to_other, {}, Bytes(500'000)), absl::OkStatus());
  EXPECT_TRUE(StepUntil(
      {sender.get(), other.get()}, [&](ReceivedMessage) { ++received_by_other; },
      [&] { return done == sent && received_by_other == 1 && !connection->status().ok(); }));
  EXPECT_EQ(connection->status().code(), absl::StatusCode::kUnavailable) << connection->status();
  if (GetParam().name != "late") {
    EXPECT_GT(failed, 0u);
  }
  EXPECT_FALSE(connection->CanSend(1));
  EXPECT_EQ(connection->pending_bytes(), 0u);
  EXPECT_EQ(SendBytes(*connection, {}, Bytes(1)), connection->status());

  // Connecting to it again may fail now or later.
  connection.reset();
  absl::StatusOr<std::unique_ptr<TransportConnection>> again = sender->Connect(address);
  if (again.ok()) {
    EXPECT_EQ(SendBytes(**again, {}, Bytes(1)), absl::OkStatus());
    EXPECT_TRUE(StepUntil({sender.get()}, Ignore, [&] { return !(*again)->status().ok(); }));
  } else {
    EXPECT_EQ(again.status().code(), absl::StatusCode::kUnavailable);
  }
}

TEST_P(TransportSuite, ConnectionsMayBeClosedByHandlersAndByDone) {
  const auto a = Make(), b = Make();
  auto to_b = Connect(*a, *b), to_a = Connect(*b, *a);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(SendBytes(*to_b, {}, Bytes(1000)), absl::OkStatus());
  bool closed = false;
  EXPECT_EQ(SendBytes(*to_a, {}, Bytes(10),
                      [&](const absl::Status&) {
                        to_a.reset();
                        closed = true;
                      }),
            absl::OkStatus());
  EXPECT_TRUE(StepUntil(
      {a.get(), b.get()}, [&](ReceivedMessage) { to_b.reset(); }, [&] { return closed && to_b == nullptr; }));
}

TEST_P(TransportSuite, WhatIsNoAddressIsRefused) {
  const auto transport = Make(), peer = Make();
  std::vector<std::string> wrong = {"",
                                    "x",
                                    std::string(200, '\0'),
                                    std::string(100'000, 'a'),
                                    peer->address().substr(0, peer->address().size() / 2),
                                    GetParam().name == "ucx_tcp" ? "in-process:1" : MakeUcx({})->address()};
  if (GetParam().name == "ucx_tcp") {
    for (size_t i = 0; i < peer->address().size(); ++i) {
      wrong.push_back(peer->address());
      wrong.back()[i] = static_cast<char>(wrong.back()[i] ^ (1 << i % 8));
    }
    wrong.push_back(peer->address() + "x");
  }
  for (const std::string& address : wrong) {
    const absl::Status status = transport->Connect(address).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << address << ": " << status;
  }
  EXPECT_EQ(Connect(*transport, *peer)->status(), absl::OkStatus());
}

TEST_P(TransportSuite, EverythingMayBeDestroyedWithSendsPending) {
  bool is_over = false;
  for (const bool peer_ends_first : {false, true}) {
    for (const int steps : {0, 1, 10}) {
      auto receiver = Make();
      auto sender = Make();
      auto connection = Connect(*sender, *receiver), back = Connect(*receiver, *sender);
      for (int i = 0; i < 5; ++i) {
        for (const auto* direction : {&connection, &back}) {
          EXPECT_EQ(SendBytes(**direction, Pattern(1, 100), Bytes(kMaxPayloadBytes),
                              [&](const absl::Status&) { EXPECT_FALSE(is_over); }),
                    absl::OkStatus());
        }
      }
      for (int i = 0; i < steps; ++i) {
        sender->Progress(Ignore);
        receiver->Progress(Ignore);
      }
      is_over = true;
      connection.reset();
      back.reset();
      if (peer_ends_first) receiver.reset();
      sender.reset();
      receiver.reset();
      is_over = false;
    }
  }
}

std::string NameOf(const testing::TestParamInfo<TransportWorld>& info) { return info.param.name; }
INSTANTIATE_TEST_SUITE_P(Transports, TransportSuite, testing::ValuesIn(Worlds()), NameOf);
INSTANTIATE_TEST_SUITE_P(Transports, TransportBounds, testing::Values(Worlds()[0], Worlds()[1]), NameOf);

}  // namespace
}  // namespace longspan
