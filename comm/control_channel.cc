#include "comm/control_channel.h"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <utility>

#include <grpc/support/log.h>
#include <grpcpp/grpcpp.h>

#include "absl/strings/str_cat.h"
#include "comm/control.grpc.pb.h"

namespace longspan {
namespace {

constexpr int kMostBatchBytes = 1 << 30;  // a prompt of ten million tokens is a twentieth of it

grpc::Status ToGrpc(const absl::Status& status) {
  return {static_cast<grpc::StatusCode>(status.code()), std::string(status.message())};
}
absl::Status FromGrpc(const grpc::Status& status) {
  return {static_cast<absl::StatusCode>(status.error_code()), status.error_message()};
}

// What waits to be sent while a batch is on its way. Not thread-safe.
template <typename Batch>
class Outbox {
 public:
  // The batch to be sent now, if one is.
  template <typename Message>
  const Batch* Push(Message message) {
    *waiting_.add_messages() = std::move(message);
    return sending_ ? nullptr : Next();
  }
  void Sent() { sending_ = false; }
  // After Sent: what has come together, if anything has.
  const Batch* Next() {
    if (waiting_.messages().empty()) return nullptr;
    sending_ = true;
    current_ = std::exchange(waiting_, {});
    return &current_;
  }
  bool sending() const { return sending_; }

 private:
  Batch waiting_, current_;
  bool sending_ = false;
};

std::shared_ptr<grpc::ServerCredentials> ServerCredentials(const ControlTls& tls) {
  if (!tls.enabled()) return grpc::InsecureServerCredentials();
  grpc::SslServerCredentialsOptions options(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_root_certs = tls.ca;
  options.pem_key_cert_pairs.push_back({tls.key, tls.certificate});
  return grpc::SslServerCredentials(options);
}

std::shared_ptr<grpc::ChannelCredentials> ChannelCredentials(const ControlTls& tls) {
  if (!tls.enabled()) return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = tls.ca;
  options.pem_private_key = tls.key;
  options.pem_cert_chain = tls.certificate;
  return grpc::SslCredentials(options);
}

// How many reactors there are: gRPC calls them on its own threads until their OnDone.
class Census {
 public:
  void Enter() {
    const std::lock_guard lock(mutex_);
    ++count_;
  }
  void Leave() {
    const std::lock_guard lock(mutex_);
    --count_;
    changed_.notify_all();
  }
  void WaitForNobody() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return count_ == 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int count_ = 0;
};

class ServerStream final : public grpc::ServerBidiReactor<control::FromGroupBatch, control::ToGroupBatch>,
                           public ToGroupStream,
                           public std::enable_shared_from_this<ServerStream> {
 public:
  ServerStream(grpc::CallbackServerContext* context, Census& census)
      : context_(context), census_(census), peer_(context->peer()) {
    census_.Enter();
  }
  // gRPC keeps it by this until OnDone.
  void Begin(std::shared_ptr<FromGroupHandler> handler) {
    self_ = shared_from_this();
    handler_ = std::move(handler);
    StartRead(&incoming_);
  }

  void Send(control::ToGroup message) override {
    const std::lock_guard lock(mutex_);
    if (ended_) return;
    if (const control::ToGroupBatch* first = outbox_.Push(std::move(message))) StartWrite(first);
  }
  void Close(const absl::Status& why) override {
    const std::lock_guard lock(mutex_);
    End(why);
  }
  std::string peer() const override { return peer_; }

  void OnReadDone(bool ok) override {
    if (ok) {
      for (control::FromGroup& message : *incoming_.mutable_messages())
        handler_->OnMessage(std::move(message));
      const std::lock_guard lock(mutex_);
      if (!ended_) StartRead(&incoming_);
    } else {
      Close(absl::OkStatus());
    }
  }
  void OnWriteDone(bool ok) override {
    const std::lock_guard lock(mutex_);
    outbox_.Sent();
    if (ended_) {
      if (!finished_) Finish(ToGrpc(why_));
      finished_ = true;
    } else if (!ok) {
      End(absl::UnavailableError("the connection is broken"));
    } else if (const control::ToGroupBatch* next = outbox_.Next()) {
      StartWrite(next);
    }
  }
  void OnCancel() override { Close(absl::UnavailableError("the connection is broken")); }
  void OnDone() override {
    handler_->OnClose(why_);
    handler_.reset();
    Census& census = census_;
    self_.reset();  // may be the end of this object
    census.Leave();
  }

 private:
  // With the mutex held. A message on its way is given up first: its peer may have stopped reading.
  void End(const absl::Status& why) {
    if (std::exchange(ended_, true)) return;
    why_ = why;
    if (outbox_.sending()) {
      context_->TryCancel();
    } else {
      finished_ = true;
      Finish(ToGrpc(why));
    }
  }

  grpc::CallbackServerContext* const context_;
  Census& census_;
  const std::string peer_;
  std::shared_ptr<ServerStream> self_;
  std::shared_ptr<FromGroupHandler> handler_;
  control::FromGroupBatch incoming_;

  std::mutex mutex_;  // of the following
  Outbox<control::ToGroupBatch> outbox_;
  bool ended_ = false, finished_ = false;
  absl::Status why_;
};

class Service final : public control::Coordinator::CallbackService {
 public:
  explicit Service(AcceptStream accept) : accept_(std::move(accept)) {}

  grpc::ServerBidiReactor<control::FromGroupBatch, control::ToGroupBatch>* Join(
      grpc::CallbackServerContext* context) override {
    auto stream = std::make_shared<ServerStream>(context, census_);
    stream->Begin(accept_(stream));
    return stream.get();
  }
  Census& census() { return census_; }

 private:
  const AcceptStream accept_;
  Census census_;
};

class Server final : public ControlServer {
 public:
  explicit Server(AcceptStream accept) : service_(std::move(accept)) {}
  ~Server() override {
    if (server_ == nullptr) return;
    server_->Shutdown(std::chrono::system_clock::now());
    service_.census().WaitForNobody();
    server_->Wait();
  }

  absl::Status Listen(const std::string& address, const ControlTls& tls) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address, ServerCredentials(tls), &port_);
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.SetMaxReceiveMessageSize(kMostBatchBytes);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    if (server_ != nullptr && port_ != 0) return absl::OkStatus();
    return absl::FailedPreconditionError(absl::StrCat(
        "cannot listen for groups on ", address, ": is the port taken, is the address this machine's",
        tls.enabled() ? ", do certificate and key belong together?" : "?"));
  }
  int port() const override { return port_; }

 private:
  Service service_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

// gRPC's threads end with the last channel or server of the process, and wait for one another then: none of
// them may be what lets go of it. So the channel of the stream that has ended last is kept.
void KeepSpentChannel(std::shared_ptr<grpc::Channel> channel) {
  struct Spent {
    std::mutex mutex;
    std::shared_ptr<grpc::Channel> last;
  };
  static Spent* const spent = new Spent;
  const std::lock_guard lock(spent->mutex);
  spent->last.swap(channel);
}

class ClientStream final : public grpc::ClientBidiReactor<control::FromGroupBatch, control::ToGroupBatch>,
                           public FromGroupStream,
                           public std::enable_shared_from_this<ClientStream> {
 public:
  ClientStream(const std::string& address, const ControlTls& tls) : address_(address) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(kMostBatchBytes);
    arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
    // Streams that follow one another shall not share a connection that may be broken.
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    channel_ = grpc::CreateCustomChannel(address, ChannelCredentials(tls), arguments);
    stub_ = control::Coordinator::NewStub(channel_);
  }
  ~ClientStream() override { KeepSpentChannel(std::move(channel_)); }
  void Begin(std::shared_ptr<ToGroupHandler> handler) {
    self_ = shared_from_this();
    handler_ = std::move(handler);
    stub_->async()->Join(&context_, this);
    AddHold();  // Send may come at any time
    StartRead(&incoming_);
    StartCall();
  }

  void Send(control::FromGroup message) override {
    const std::lock_guard lock(mutex_);
    if (ended_) return;
    if (const control::FromGroupBatch* first = outbox_.Push(std::move(message))) StartWrite(first);
  }
  void Close(const absl::Status& why) override {
    const std::lock_guard lock(mutex_);
    End(why);
  }
  std::string peer() const override { return address_; }

  void OnReadDone(bool ok) override {
    if (ok) {
      for (control::ToGroup& message : *incoming_.mutable_messages()) handler_->OnMessage(std::move(message));
    }
    const std::lock_guard lock(mutex_);
    if (ok) {
      StartRead(&incoming_);  // until the peer ends, also while this side waits for that
    } else {
      End(absl::OkStatus());
      Release();
    }
  }
  void OnWriteDone(bool ok) override {
    const std::lock_guard lock(mutex_);
    outbox_.Sent();
    if (!ok || !held_) return;
    if (const control::FromGroupBatch* next = outbox_.Next()) {
      StartWrite(next);
    } else if (ended_) {
      StartWritesDone();
      Release();
    }
  }
  void OnDone(const grpc::Status& status) override {
    handler_->OnClose(why_.ok() ? FromGrpc(status) : why_);
    handler_.reset();
    self_.reset();
  }

 private:
  // With the mutex held.
  void End(const absl::Status& why) {
    const bool first = !std::exchange(ended_, true);
    if (first) why_ = why;
    if (!why.ok()) {
      context_.TryCancel();
      Release();
    } else if (first && !outbox_.sending()) {
      StartWritesDone();
      Release();
    }
  }
  void Release() {
    if (std::exchange(held_, false)) RemoveHold();
  }

  const std::string address_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<control::Coordinator::Stub> stub_;
  grpc::ClientContext context_;
  std::shared_ptr<ClientStream> self_;
  std::shared_ptr<ToGroupHandler> handler_;
  control::ToGroupBatch incoming_;

  std::mutex mutex_;  // of the following
  Outbox<control::FromGroupBatch> outbox_;
  bool ended_ = false, held_ = true;
  absl::Status why_;
};

// gRPC cannot listen: the caller says so.
thread_local bool is_listening = false;

// The process's, as gRPC's own.
std::function<void(const std::string&)>& ErrorLog() {
  static auto* log = new std::function<void(const std::string&)>;
  return *log;
}

}  // namespace

void LogControlErrors(std::function<void(const std::string& text)> log) {
  ErrorLog() = std::move(log);
  gpr_set_log_function([](gpr_log_func_args* args) {
    if (args->severity == GPR_LOG_SEVERITY_ERROR && !is_listening) ErrorLog()(args->message);
  });
}

absl::StatusOr<std::unique_ptr<ControlServer>> ListenForGroups(const std::string& address,
                                                               const ControlTls& tls, AcceptStream accept) {
  auto server = std::make_unique<Server>(std::move(accept));
  is_listening = true;
  const absl::Status status = server->Listen(address, tls);
  is_listening = false;
  if (!status.ok()) return status;
  return server;
}

std::shared_ptr<FromGroupStream> JoinCoordinator(const std::string& address, const ControlTls& tls,
                                                 std::shared_ptr<ToGroupHandler> handler) {
  auto stream = std::make_shared<ClientStream>(address, tls);
  stream->Begin(std::move(handler));
  return stream;
}

}  // namespace longspan
