// What the suite cannot ask of every transport: peers that are killed, and peers that are not ours.
#include "comm/ucx_transport.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <ucp/api/ucp.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <optional>

#include "absl/strings/escaping.h"
#include "absl/strings/str_split.h"
#include "tests/comm/transport_worlds.h"

namespace longspan {
namespace {

std::unique_ptr<Transport> Make() {
  UcxTransportOptions options;
  options.devices = "lo";
  absl::StatusOr<std::unique_ptr<Transport>> transport = CreateUcxTransport(options);
  EXPECT_EQ(transport.status(), absl::OkStatus());
  return *std::move(transport);
}

// transport_peer, which is killed with it.
class PeerProcess {
 public:
  PeerProcess() : output_(popen("exec " LONGSPAN_TRANSPORT_PEER, "r")) {
    char line[8192] = "";
    EXPECT_NE(std::fgets(line, sizeof(line), output_), nullptr);
    char hex[8192] = "";
    EXPECT_EQ(std::sscanf(line, "%d %8191s", &pid_, hex), 2);
    address_ = absl::HexStringToBytes(hex);
  }
  ~PeerProcess() {
    Signal(SIGKILL);
    pclose(output_);
  }

  const std::string& address() const { return address_; }
  void Signal(int signal) const {
    if (pid_ > 0) kill(pid_, signal);
  }

 private:
  FILE* const output_;
  int pid_ = 0;
  std::string address_;
};

std::unique_ptr<TransportConnection> Connect(Transport& transport, const std::string& address) {
  absl::StatusOr<std::unique_ptr<TransportConnection>> connection = transport.Connect(address);
  EXPECT_EQ(connection.status(), absl::OkStatus());
  return *std::move(connection);
}

TEST(UcxTransport, SendsToAKilledProcessFailAndOthersGoOn) {
  for (const bool is_stopped : {true, false}) {
    SCOPED_TRACE(is_stopped ? "stopped, then killed" : "killed while it receives");
    const auto transport = Make();
    PeerProcess doomed, survivor;
    const auto to_doomed = Connect(*transport, doomed.address());
    const auto to_survivor = Connect(*transport, survivor.address());
    size_t doomed_done = 0, survivor_done = 0, failed = 0;
    const Bytes header(100);
    const auto send_to_doomed = [&] {
      const absl::Status status =
          SendBytes(*to_doomed, header, Bytes(kMaxPayloadBytes), [&](const absl::Status& status) {
            ++doomed_done;
            failed += status.ok() ? 0 : 1;
          });
      EXPECT_EQ(status, absl::OkStatus());
    };
    const auto send_to_survivor = [&] {
      EXPECT_EQ(SendBytes(*to_survivor, header, Bytes(200'000),
                          [&](const absl::Status& status) {
                            EXPECT_EQ(status, absl::OkStatus());
                            ++survivor_done;
                          }),
                absl::OkStatus());
    };
    send_to_doomed();
    send_to_survivor();
    ASSERT_TRUE(StepUntil({transport.get()}, Ignore, [&] { return doomed_done == 1 && survivor_done == 1; }));
    EXPECT_EQ(failed, 0u);

    size_t sent = 1;
    if (is_stopped) doomed.Signal(SIGSTOP);
    while (to_doomed->CanSend(header.size() + kMaxPayloadBytes)) {
      send_to_doomed();
      ++sent;
      // A stopped process lets the network fill up, until nothing moves.
      while (is_stopped && (transport->Progress(Ignore) || transport->Wait(std::chrono::milliseconds(20)))) {
      }
    }
    EXPECT_EQ(to_doomed->status(), absl::OkStatus());
    doomed.Signal(SIGKILL);
    send_to_survivor();
    ASSERT_TRUE(StepUntil({transport.get()}, Ignore,
                          [&] { return doomed_done == sent && !to_doomed->status().ok(); }));
    if (is_stopped) {
      EXPECT_GT(failed, 0u);
    }
    EXPECT_EQ(to_doomed->status().code(), absl::StatusCode::kUnavailable);
    EXPECT_EQ(to_doomed->pending_bytes(), 0u);
    EXPECT_EQ(to_survivor->status(), absl::OkStatus());
    send_to_survivor();
    EXPECT_TRUE(StepUntil({transport.get()}, Ignore, [&] { return survivor_done == 3; }));
  }
}

// The owner may look elsewhere while it happens, and no send need be pending.
TEST(UcxTransport, TheDeathOfAPeerEndsAWait) {
  const auto transport = Make();
  PeerProcess doomed;
  const auto connection = Connect(*transport, doomed.address());
  bool done = false;
  EXPECT_EQ(SendBytes(*connection, Bytes(1), Bytes(1), [&](const absl::Status&) { done = true; }),
            absl::OkStatus());
  ASSERT_TRUE(StepUntil({transport.get()}, Ignore, [&] { return done; }));
  doomed.Signal(SIGKILL);
  while (connection->status().ok()) {
    if (!transport->Progress(Ignore)) {
      ASSERT_TRUE(transport->Wait(kPatience));
    }
  }
}

TEST(UcxTransport, AStoppedPeerDoesNotHoldUpDestruction) {
  PeerProcess stopped;
  const auto transport = Make();
  const auto connection = Connect(*transport, stopped.address());
  stopped.Signal(SIGSTOP);
  while (connection->CanSend(kMaxPayloadBytes)) {
    EXPECT_EQ(SendBytes(*connection, {}, Bytes(kMaxPayloadBytes)), absl::OkStatus());
    for (int i = 0; i < 100; ++i) transport->Progress(Ignore);
  }
}

TEST(UcxTransport, OptionsThatUcxDoesNotTakeAreNamed) {
  UcxTransportOptions options;
  options.devices = "no_such_interface";
  const absl::Status no_device = CreateUcxTransport(options).status();
  EXPECT_FALSE(no_device.ok());
  EXPECT_THAT(std::string(no_device.message()), testing::HasSubstr("no_such_interface"));
  options = {};
  options.transports = "no_such_transport";
  const absl::Status no_transport = CreateUcxTransport(options).status();
  EXPECT_FALSE(no_transport.ok());
  EXPECT_THAT(std::string(no_transport.message()), testing::HasSubstr("no_such_transport"));
}

// A program that speaks UCX and knows where a transport is, but not how to talk to it, or too well.
class Stranger {
 public:
  // As the transport has them.
  struct Prefix {
    uint32_t magic = 0x4c535431, connection = 1;
    uint64_t to = 0, from = 77, sequence = 0;
  };

  Stranger() {
    ucp_params_t params = {};
    params.field_mask = UCP_PARAM_FIELD_FEATURES;
    params.features = UCP_FEATURE_AM;
    ucp_config_t* config = nullptr;
    EXPECT_EQ(ucp_config_read(nullptr, nullptr, &config), UCS_OK);
    EXPECT_EQ(ucp_config_modify(config, "TLS", "tcp"), UCS_OK);
    EXPECT_EQ(ucp_init(&params, config, &context_), UCS_OK);
    ucp_config_release(config);
    ucp_worker_params_t worker_params = {};
    EXPECT_EQ(ucp_worker_create(context_, &worker_params, &worker_), UCS_OK);
  }
  ~Stranger() {
    Close();
    ucp_worker_destroy(worker_);
    ucp_cleanup(context_);
  }

  void Connect(const Transport& transport) {
    ucp_ep_params_t params = {};
    params.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE;
    params.address = reinterpret_cast<const ucp_address_t*>(transport.address().data() + 24);
    params.err_mode = UCP_ERR_HANDLING_MODE_PEER;
    EXPECT_EQ(ucp_ep_create(worker_, &params, &endpoint_), UCS_OK);
  }

  // Steps the transport until the message has been sent.
  void Send(Transport& transport, Transport::Handler handler, ByteSpan header, size_t bytes, uint32_t flags) {
    const Bytes payload = Pattern(1, bytes);
    ucp_request_param_t param = {};
    param.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS;
    param.flags = flags;
    Finish(ucp_am_send_nbx(endpoint_, 0, header.data(), header.size(), payload.data(), bytes, &param),
           transport, handler);
    ucp_request_param_t flush = {};
    Finish(ucp_ep_flush_nbx(endpoint_, &flush), transport, handler);
  }

  void Send(Transport& transport, Transport::Handler handler, const Prefix& prefix, size_t bytes = 10,
            uint32_t flags = UCP_AM_SEND_FLAG_EAGER) {
    Send(transport, handler, std::as_bytes(std::span(&prefix, 1)), bytes, flags);
  }

 private:
  void Finish(ucs_status_ptr_t request, Transport& transport, Transport::Handler handler) {
    if (!UCS_PTR_IS_PTR(request)) {
      EXPECT_EQ(UCS_PTR_RAW_STATUS(request), UCS_OK);
      return;
    }
    EXPECT_TRUE(StepUntil({&transport}, handler, [&] {
      ucp_worker_progress(worker_);
      return ucp_request_check_status(request) != UCS_INPROGRESS;
    }));
    ucp_request_free(request);
  }

  void Close() {
    ucp_request_param_t param = {};
    param.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS;
    param.flags = UCP_EP_CLOSE_FLAG_FORCE;
    const ucs_status_ptr_t request = ucp_ep_close_nbx(endpoint_, &param);
    if (!UCS_PTR_IS_PTR(request)) return;
    while (ucp_request_check_status(request) == UCS_INPROGRESS) ucp_worker_progress(worker_);
    ucp_request_free(request);
  }

  ucp_context_h context_ = nullptr;
  ucp_worker_h worker_ = nullptr;
  ucp_ep_h endpoint_ = nullptr;
};

TEST(UcxTransport, WhatIsNotAMessageForThisTransportIsRefused) {
  const auto transport = Make();
  std::vector<size_t> received;
  const auto receive = [&](ReceivedMessage message) { received.push_back(message.payload.size()); };
  Stranger stranger;
  stranger.Connect(*transport);
  const Stranger::Prefix good = {.to = transport->id()};
  Stranger::Prefix wrong_id = good, wrong_magic = good;
  wrong_id.to ^= 1;
  wrong_magic.magic ^= 1;
  stranger.Send(*transport, receive, ByteSpan(), 10, UCP_AM_SEND_FLAG_EAGER);
  stranger.Send(*transport, receive, Bytes(31), 10, UCP_AM_SEND_FLAG_EAGER);
  stranger.Send(*transport, receive, wrong_id);
  stranger.Send(*transport, receive, wrong_magic);
  stranger.Send(*transport, receive, good, kMaxPayloadBytes + 1);
  Bytes long_header(sizeof(good) + kMaxHeaderBytes + 1);
  std::memcpy(long_header.data(), &good, sizeof(good));
  stranger.Send(*transport, receive, long_header, 10, UCP_AM_SEND_FLAG_EAGER);
  stranger.Send(*transport, receive, good, 1000, UCP_AM_SEND_FLAG_RNDV);
  EXPECT_TRUE(StepUntil({transport.get()}, receive, [&] {
    return transport->counters().refused_messages == 7;
  })) << transport->counters().refused_messages;
  EXPECT_TRUE(received.empty());
  stranger.Send(*transport, receive, good, 11);
  EXPECT_TRUE(StepUntil({transport.get()}, receive, [&] { return received.size() == 1; }));
  EXPECT_EQ(received, std::vector<size_t>{11});
}

TEST(UcxTransport, MessagesAreOrderedAndThoseOfOlderConnectionsRefused) {
  const auto transport = Make();
  std::vector<size_t> received;
  const auto receive = [&](ReceivedMessage message) { received.push_back(message.payload.size()); };
  Stranger stranger;
  stranger.Connect(*transport);
  const auto send = [&](uint32_t connection, uint64_t sequence, size_t bytes) {
    Stranger::Prefix prefix = {.connection = connection, .to = transport->id(), .sequence = sequence};
    stranger.Send(*transport, receive, prefix, bytes);
  };
  send(5, 2, 30);
  send(5, 1, 20);
  send(5, 2, 31);  // again
  send(5, 0, 10);
  send(5, 1, 21);  // again
  send(5, 4, 50);  // what was to come before it will not
  send(7, 0, 60);
  send(5, 3, 40);  // of an older connection
  EXPECT_TRUE(StepUntil({transport.get()}, receive,
                        [&] { return received.size() == 4 && transport->counters().refused_messages == 3; }));
  EXPECT_EQ(received, (std::vector<size_t>{10, 20, 30, 60}));
}

}  // namespace
}  // namespace longspan
