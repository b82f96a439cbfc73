#include "comm/ucx_transport.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <ucp/api/ucp.h>
#include <ucs/debug/log_def.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <random>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/status_macros.h"

namespace longspan {
namespace {

constexpr unsigned kActiveMessageId = 0;

// Before the caller's header. All hosts of a deployment have the same byte order.
struct Prefix {
  uint32_t magic = 0x4c535431;
  // Counts the connections that the sender has made: what an earlier one to the same peer left behind is
  // refused.
  uint32_t connection = 0;
  uint64_t to = 0, from = 0;
  // From 0 on each connection. UCX does not promise that messages of several packets arrive in order.
  uint64_t sequence = 0;
};
static_assert(sizeof(Prefix) == 32);

// An address of ours is this and UCX's address of the worker, which UCX would take to pieces unchecked.
struct AddressPrefix {
  uint64_t magic = 0x31786375'4c53ULL;
  uint64_t checksum = 0;  // XXH3 of what follows
  uint64_t id = 0;
};

absl::Status Failed(const char* what, ucs_status_t status) {
  const std::string message = absl::StrCat(what, ": ", ucs_status_string(status));
  switch (status) {
    case UCS_ERR_CANCELED:
      return absl::CancelledError(message);
    case UCS_ERR_INVALID_PARAM:
    case UCS_ERR_INVALID_ADDR:
      return absl::InvalidArgumentError(message);
    case UCS_ERR_NO_MEMORY:
      return absl::ResourceExhaustedError(message);
    default:
      return absl::UnavailableError(message);
  }
}

absl::Status Check(const char* what, ucs_status_t status) {
  return status == UCS_OK ? absl::OkStatus() : Failed(what, status);
}

// UCX would write to the standard output, which belongs to the program.
ucs_log_func_rc_t LogToStandardError(const char*, unsigned, const char*, ucs_log_level_t level,
                                     const ucs_log_component_config_t* component, const char* format,
                                     va_list arguments) {
  if (level > component->log_level) return UCS_LOG_FUNC_RC_STOP;
  std::array<char, 512> text;
  std::vsnprintf(text.data(), text.size(), format, arguments);
  std::fprintf(stderr, "UCX: %s\n", text.data());
  return UCS_LOG_FUNC_RC_STOP;
}

struct DestroyContext {
  void operator()(ucp_context_h context) const { ucp_cleanup(context); }
};
struct DestroyWorker {
  void operator()(ucp_worker_h worker) const { ucp_worker_destroy(worker); }
};
using Context = std::unique_ptr<std::remove_pointer_t<ucp_context_h>, DestroyContext>;
using Worker = std::unique_ptr<std::remove_pointer_t<ucp_worker_h>, DestroyWorker>;

absl::Status SetOption(ucp_config_t* config, const char* name, const std::string& value) {
  const ucs_status_t status = ucp_config_modify(config, name, value.c_str());
  if (status == UCS_OK) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("UCX does not take UCX_", name, "=", value, ": ", ucs_status_string(status)));
}

absl::StatusOr<Context> CreateContext(const UcxTransportOptions& options) {
  static std::once_flag logs_once;
  std::call_once(logs_once, [] { ucs_log_push_handler(&LogToStandardError); });
  ucp_config_t* config = nullptr;
  LONGSPAN_RETURN_IF_ERROR(Check("reading UCX's configuration", ucp_config_read(nullptr, nullptr, &config)));
  const std::unique_ptr<ucp_config_t, decltype(&ucp_config_release)> release(config, &ucp_config_release);
  LONGSPAN_RETURN_IF_ERROR(SetOption(config, "TLS", options.transports));
  if (!options.devices.empty()) LONGSPAN_RETURN_IF_ERROR(SetOption(config, "NET_DEVICES", options.devices));
  LONGSPAN_RETURN_IF_ERROR(SetOption(config, "RNDV_THRESH", "inf"));
  if (options.transports.find("tcp") != std::string::npos) {
    // UCX 1.13 aborts when a peer ends while a socket is given the sender's memory itself: the completion is
    // called twice. A copy on the sender's side avoids that.
    LONGSPAN_RETURN_IF_ERROR(SetOption(config, "ZCOPY_THRESH", "inf"));
    // A host that does not answer must not keep this thread in connect().
    LONGSPAN_RETURN_IF_ERROR(SetOption(config, "CONN_NB", "y"));
  }

  ucp_params_t params = {};
  params.field_mask = UCP_PARAM_FIELD_FEATURES | UCP_PARAM_FIELD_NAME;
  params.features = UCP_FEATURE_AM | UCP_FEATURE_WAKEUP;
  params.name = "longspan";
  ucp_context_h context = nullptr;
  LONGSPAN_RETURN_IF_ERROR(
      Check(absl::StrCat("UCX over ", options.transports,
                         options.devices.empty() ? "" : absl::StrCat(" on ", options.devices))
                .c_str(),
            ucp_init(&params, config, &context)));
  return Context(context);
}

absl::StatusOr<Worker> CreateWorker(ucp_context_h context) {
  ucp_worker_params_t params = {};
  params.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE;
  params.thread_mode = UCS_THREAD_MODE_SERIALIZED;
  ucp_worker_h worker = nullptr;
  LONGSPAN_RETURN_IF_ERROR(Check("creating a UCX worker", ucp_worker_create(context, &params, &worker)));
  return Worker(worker);
}

uint64_t RandomId() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

// What several sends of a connection, and the connection itself, share. The last of them frees it.
struct Link : std::enable_shared_from_this<Link> {
  uint64_t peer = 0;
  uint32_t number = 0;
  uint64_t next_sequence = 0;
  ucp_ep_h endpoint = nullptr;  // null once closed
  size_t pending_bytes = 0;
  absl::Status status;
  class UcxTransport* transport = nullptr;
};

struct PendingSend {
  std::shared_ptr<Link> link;
  std::vector<std::byte> header;  // with the prefix
  absl::InlinedVector<ucp_dt_iov_t, 8> parts;
  size_t payload_bytes = 0, pending_bytes = 0;
  SendDone done;
  absl::Status status;  // once it has ended
};

class UcxTransport final : public Transport {
 public:
  explicit UcxTransport(const UcxTransportOptions& options) : options_(options) {}
  ~UcxTransport() override;

  absl::Status Initialize();

  uint64_t id() const override { return id_; }
  const std::string& address() const override { return address_; }
  absl::StatusOr<std::unique_ptr<TransportConnection>> Connect(const std::string& address) override;
  bool Progress(Handler handler) override;
  bool Wait(Clock::Duration timeout) override;
  void Wake() override;
  TransportCounters counters() const override { return counters_; }

  absl::Status Send(const std::shared_ptr<Link>& link, ByteSpan header, std::span<const ByteSpan> payload,
                    SendDone done);
  size_t max_pending_bytes() const { return options_.max_pending_bytes; }
  void Close(Link& link);

 private:
  friend struct UcxPayload;

  // The messages of one sender.
  struct Stream {
    uint32_t connection = 0;
    uint64_t next_sequence = 0;
    std::map<uint64_t, ReceivedMessage> early;  // by sequence
  };

  // Called by UCX, within Progress.
  static ucs_status_t OnMessage(void* self, const void* header, size_t header_bytes, void* data, size_t bytes,
                                const ucp_am_recv_param_t* param);
  static void OnSent(void* request, ucs_status_t status, void* send);
  static void OnError(void* link, ucp_ep_h endpoint, ucs_status_t status);

  void End(std::unique_ptr<PendingSend> send, ucs_status_t status);
  Stream* StreamOf(const Prefix& prefix);
  void TakeInOrder(Stream& stream);
  void Fail(Link& link, ucs_status_t status);
  void CloseEndpoint(Link& link);
  void ForgetClosed();

  const UcxTransportOptions options_;
  Context context_;
  Worker worker_;
  int event_fd_ = -1;  // UCX's
  int wake_fd_ = -1;
  uint64_t id_ = 0;
  std::string address_;
  uint32_t last_connection_ = 0;
  std::map<uint64_t, std::shared_ptr<Link>> links_;               // by peer: the connections that there are
  std::map<uint64_t, Stream> streams_;                            // by sender
  std::deque<ReceivedMessage> received_;                          // not yet handled
  std::deque<std::unique_ptr<PendingSend>> ended_;                // of which nobody was told yet
  std::vector<std::shared_ptr<Link>> failed_;                     // to be closed
  std::vector<std::pair<void*, std::shared_ptr<Link>>> closing_;  // with UCX's request
  size_t unreleased_payloads_ = 0;
  // UCX tells of what comes only when it has done all that it could do before.
  bool may_progress_ = true;
  // While a peer has not answered a first connection, UCX over TCP tells all the time that there is
  // something.
  bool told_ = false;    // by UCX, at the end of the last Wait
  bool futile_ = false;  // and then there was nothing
  TransportCounters counters_;
};

struct UcxPayload final : PayloadMemory {
  UcxPayload(UcxTransport* transport, void* data) : transport(transport), data(data) {
    ++transport->unreleased_payloads_;
  }
  ~UcxPayload() override {
    ucp_am_data_release(transport->worker_.get(), data);
    --transport->unreleased_payloads_;
  }

  UcxTransport* const transport;
  void* const data;
};

class UcxConnection final : public TransportConnection {
 public:
  explicit UcxConnection(std::shared_ptr<Link> link) : link_(std::move(link)) {}
  ~UcxConnection() override { link_->transport->Close(*link_); }

  uint64_t peer() const override { return link_->peer; }
  absl::Status status() const override { return link_->status; }
  size_t pending_bytes() const override { return link_->pending_bytes; }
  bool CanSend(size_t message_bytes) const override {
    return link_->status.ok() &&
           FitsPending(message_bytes, link_->pending_bytes, link_->transport->max_pending_bytes());
  }
  absl::Status Send(ByteSpan header, std::span<const ByteSpan> payload, SendDone done) override {
    return link_->transport->Send(link_, header, payload, std::move(done));
  }

 private:
  const std::shared_ptr<Link> link_;
};

absl::Status UcxTransport::Initialize() {
  LONGSPAN_ASSIGN_OR_RETURN(context_, CreateContext(options_));
  LONGSPAN_ASSIGN_OR_RETURN(worker_, CreateWorker(context_.get()));
  LONGSPAN_RETURN_IF_ERROR(Check("UCX's event file", ucp_worker_get_efd(worker_.get(), &event_fd_)));
  wake_fd_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (wake_fd_ < 0) return absl::UnavailableError(absl::StrCat("eventfd: ", std::strerror(errno)));

  ucp_worker_attr_t attributes = {};
  attributes.field_mask = UCP_WORKER_ATTR_FIELD_MAX_AM_HEADER;
  LONGSPAN_RETURN_IF_ERROR(Check("asking a UCX worker", ucp_worker_query(worker_.get(), &attributes)));
  if (attributes.max_am_header < sizeof(Prefix) + kMaxHeaderBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("UCX over ", options_.transports, " takes headers of ", attributes.max_am_header,
                     " bytes; ", sizeof(Prefix) + kMaxHeaderBytes, " are needed: choose other transports"));
  }

  ucp_am_handler_param_t handler = {};
  handler.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_FLAGS |
                       UCP_AM_HANDLER_PARAM_FIELD_CB | UCP_AM_HANDLER_PARAM_FIELD_ARG;
  handler.id = kActiveMessageId;
  handler.flags = UCP_AM_FLAG_WHOLE_MSG | UCP_AM_FLAG_PERSISTENT_DATA;
  handler.cb = &OnMessage;
  handler.arg = this;
  LONGSPAN_RETURN_IF_ERROR(
      Check("UCX's active messages", ucp_worker_set_am_recv_handler(worker_.get(), &handler)));

  ucp_address_t* worker_address = nullptr;
  size_t bytes = 0;
  LONGSPAN_RETURN_IF_ERROR(
      Check("the address of a UCX worker", ucp_worker_get_address(worker_.get(), &worker_address, &bytes)));
  AddressPrefix prefix;
  prefix.id = id_ = RandomId();
  address_.resize(sizeof(prefix) + bytes);
  std::memcpy(address_.data() + sizeof(prefix), worker_address, bytes);
  ucp_worker_release_address(worker_.get(), worker_address);
  constexpr size_t kUnhashed = offsetof(AddressPrefix, id);
  std::memcpy(address_.data(), &prefix, sizeof(prefix));
  prefix.checksum = XXH3_64bits(address_.data() + kUnhashed, address_.size() - kUnhashed);
  std::memcpy(address_.data(), &prefix, sizeof(prefix));
  return absl::OkStatus();
}

UcxTransport::~UcxTransport() {
  LONGSPAN_CHECK(links_.empty());  // connections are destroyed before their transport
  received_.clear();
  streams_.clear();
  LONGSPAN_CHECK(unreleased_payloads_ == 0);  // and messages
  // A worker must not be destroyed while an endpoint is being closed. Closing by force waits for no peer.
  while (!closing_.empty()) {
    ucp_worker_progress(worker_.get());
    received_.clear();
    streams_.clear();
    ForgetClosed();
  }
  worker_.reset();
  if (wake_fd_ >= 0) close(wake_fd_);
}

absl::StatusOr<std::unique_ptr<TransportConnection>> UcxTransport::Connect(const std::string& address) {
  AddressPrefix prefix;
  constexpr size_t kUnhashed = offsetof(AddressPrefix, id);
  const bool is_whole = address.size() > sizeof(prefix);
  if (is_whole) std::memcpy(&prefix, address.data(), sizeof(prefix));
  if (!is_whole || prefix.magic != AddressPrefix().magic ||
      prefix.checksum != XXH3_64bits(address.data() + kUnhashed, address.size() - kUnhashed)) {
    return absl::InvalidArgumentError(absl::StrCat("the address of a peer, ", address.size(),
                                                   " bytes, is damaged or not one of a UCX transport"));
  }
  if (links_.contains(prefix.id)) {
    return absl::AlreadyExistsError("there is a connection to this peer: destroy it to connect anew");
  }

  auto link = std::make_shared<Link>();
  link->peer = prefix.id;
  link->number = ++last_connection_;
  link->transport = this;
  ucp_ep_params_t params = {};
  params.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE |
                      UCP_EP_PARAM_FIELD_ERR_HANDLER;
  params.address = reinterpret_cast<const ucp_address_t*>(address.data() + sizeof(prefix));
  params.err_mode = UCP_ERR_HANDLING_MODE_PEER;
  params.err_handler.cb = &OnError;
  params.err_handler.arg = link.get();
  LONGSPAN_RETURN_IF_ERROR(Check(absl::StrCat("connecting over ", options_.transports).c_str(),
                                 ucp_ep_create(worker_.get(), &params, &link->endpoint)));
  links_[prefix.id] = link;
  may_progress_ = true;
  return std::make_unique<UcxConnection>(std::move(link));
}

absl::Status UcxTransport::Send(const std::shared_ptr<Link>& link, ByteSpan header,
                                std::span<const ByteSpan> payload, SendDone done) {
  LONGSPAN_ASSIGN_OR_RETURN(const size_t bytes, CheckMessage(header, payload));
  LONGSPAN_RETURN_IF_ERROR(link->status);
  const size_t message_bytes = header.size() + bytes;
  if (!FitsPending(message_bytes, link->pending_bytes, options_.max_pending_bytes)) {
    return PendingFull(message_bytes, link->pending_bytes, options_.max_pending_bytes);
  }
  auto send = std::make_unique<PendingSend>();
  const Prefix prefix = {
      .connection = link->number, .to = link->peer, .from = id_, .sequence = link->next_sequence++};
  send->header.resize(sizeof(prefix) + header.size());
  std::memcpy(send->header.data(), &prefix, sizeof(prefix));
  std::copy(header.begin(), header.end(), send->header.begin() + sizeof(prefix));
  for (const ByteSpan part : payload) {
    if (!part.empty()) send->parts.push_back({const_cast<std::byte*>(part.data()), part.size()});
  }
  send->link = link;
  send->payload_bytes = bytes;
  send->pending_bytes = PendingBytes(message_bytes);
  send->done = std::move(done);

  ucp_request_param_t param = {};
  param.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FIELD_DATATYPE |
                       UCP_OP_ATTR_FIELD_FLAGS | UCP_OP_ATTR_FIELD_MEMORY_TYPE;
  param.cb.send = &OnSent;
  param.user_data = send.get();
  param.flags = UCP_AM_SEND_FLAG_EAGER;
  param.memory_type = UCS_MEMORY_TYPE_HOST;
  // A single part is sent without a list: UCX has quicker ways for that.
  const bool is_single = send->parts.size() == 1;
  param.datatype = send->parts.size() <= 1 ? ucp_dt_make_contig(1) : ucp_dt_make_iov();
  const void* const buffer = is_single ? send->parts[0].buffer : send->parts.data();
  const size_t count = is_single ? send->parts[0].length : send->parts.size();
  link->pending_bytes += send->pending_bytes;
  may_progress_ = true;
  const ucs_status_ptr_t request = ucp_am_send_nbx(link->endpoint, kActiveMessageId, send->header.data(),
                                                   send->header.size(), buffer, count, &param);
  if (UCS_PTR_IS_ERR(request)) {
    link->pending_bytes -= send->pending_bytes;
    Fail(*link, UCS_PTR_STATUS(request));
    return link->status;
  }
  if (request == nullptr) {
    End(std::move(send), UCS_OK);
  } else {
    send.release();  // OnSent has it
  }
  return absl::OkStatus();
}

void UcxTransport::OnSent(void* request, ucs_status_t status, void* send) {
  ucp_request_free(request);
  std::unique_ptr<PendingSend> ended(static_cast<PendingSend*>(send));
  UcxTransport& transport = *ended->link->transport;
  transport.End(std::move(ended), status);
}

void UcxTransport::End(std::unique_ptr<PendingSend> send, ucs_status_t status) {
  Link& link = *send->link;
  if (status == UCS_OK) {
    ++counters_.sent_messages;
    counters_.sent_bytes += send->payload_bytes;
  } else {
    Fail(link, status);  // what was to follow this message must not arrive without it
    send->status = link.status;
  }
  ended_.push_back(std::move(send));
}

void UcxTransport::OnError(void* link, ucp_ep_h, ucs_status_t status) {
  static_cast<Link*>(link)->transport->Fail(*static_cast<Link*>(link), status);
}

// UCX does not want its endpoint to be closed by its callbacks, so that is done later.
void UcxTransport::Fail(Link& link, ucs_status_t status) {
  if (!link.status.ok()) return;
  link.status = Failed("the connection to a peer has failed", status);
  failed_.push_back(link.shared_from_this());
}

void UcxTransport::Close(Link& link) {
  links_.erase(link.peer);
  if (link.status.ok()) link.status = absl::CancelledError("the connection was closed");
  CloseEndpoint(link);
}

// By force: all that is pending ends in this call or in later progress.
void UcxTransport::CloseEndpoint(Link& link) {
  if (link.endpoint == nullptr) return;
  may_progress_ = true;
  ucp_request_param_t param = {};
  param.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS;
  param.flags = UCP_EP_CLOSE_FLAG_FORCE;
  const ucs_status_ptr_t request = ucp_ep_close_nbx(std::exchange(link.endpoint, nullptr), &param);
  if (UCS_PTR_IS_PTR(request)) closing_.emplace_back(request, link.shared_from_this());
}

void UcxTransport::ForgetClosed() {
  std::erase_if(closing_, [](const auto& closing) {
    if (ucp_request_check_status(closing.first) == UCS_INPROGRESS) return false;
    ucp_request_free(closing.first);
    return true;
  });
}

ucs_status_t UcxTransport::OnMessage(void* self, const void* header, size_t header_bytes, void* data,
                                     size_t bytes, const ucp_am_recv_param_t* param) {
  UcxTransport& transport = *static_cast<UcxTransport*>(self);
  Prefix prefix;
  const bool fits = header_bytes >= sizeof(prefix) && header_bytes <= sizeof(prefix) + kMaxHeaderBytes &&
                    bytes <= kMaxPayloadBytes && (param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) == 0;
  if (fits) std::memcpy(&prefix, header, sizeof(prefix));
  Stream* const stream = fits ? transport.StreamOf(prefix) : nullptr;
  if (stream == nullptr) {
    ++transport.counters_.refused_messages;
    return UCS_OK;
  }
  ReceivedMessage message;
  message.from = prefix.from;
  const auto* const header_begin = static_cast<const std::byte*>(header);
  message.header.assign(header_begin + sizeof(prefix), header_begin + header_bytes);
  if (bytes > 0) {
    LONGSPAN_CHECK((param->recv_attr & UCP_AM_RECV_ATTR_FLAG_DATA) !=
                   0);  // as UCP_AM_FLAG_PERSISTENT_DATA says
    message.payload = {static_cast<const std::byte*>(data), bytes};
    message.memory = std::make_unique<UcxPayload>(&transport, data);
  }
  stream->early.emplace(prefix.sequence, std::move(message));
  transport.TakeInOrder(*stream);
  return bytes > 0 ? UCS_INPROGRESS : UCS_OK;
}

// Null: the message is to be refused.
UcxTransport::Stream* UcxTransport::StreamOf(const Prefix& prefix) {
  if (prefix.magic != Prefix().magic || prefix.to != id_) return nullptr;
  Stream& stream = streams_[prefix.from];
  if (prefix.connection < stream.connection) return nullptr;
  if (prefix.connection > stream.connection)
    stream = {.connection = prefix.connection, .next_sequence = 0, .early = {}};
  const bool is_again = prefix.sequence < stream.next_sequence || stream.early.contains(prefix.sequence);
  return is_again ? nullptr : &stream;
}

void UcxTransport::TakeInOrder(Stream& stream) {
  while (!stream.early.empty() && stream.early.begin()->first == stream.next_sequence) {
    ReceivedMessage& message = stream.early.begin()->second;
    ++counters_.received_messages;
    counters_.received_bytes += message.payload.size();
    received_.push_back(std::move(message));
    stream.early.erase(stream.early.begin());
    ++stream.next_sequence;
  }
}

bool UcxTransport::Progress(Handler handler) {
  const bool progressed = ucp_worker_progress(worker_.get()) > 0;
  may_progress_ = progressed;
  futile_ = std::exchange(told_, false) && !progressed;
  for (const std::shared_ptr<Link>& link : std::exchange(failed_, {})) CloseEndpoint(*link);
  ForgetClosed();
  // What callbacks bring about waits for the next call.
  std::deque<ReceivedMessage> received = std::exchange(received_, {});
  const std::deque<std::unique_ptr<PendingSend>> ended = std::exchange(ended_, {});
  while (!received.empty()) {
    handler(std::move(received.front()));
    received.pop_front();
  }
  for (const std::unique_ptr<PendingSend>& send : ended) {
    send->link->pending_bytes -= send->pending_bytes;
    if (send->done) send->done(send->status);
  }
  return progressed || !ended.empty();
}

bool UcxTransport::Wait(Clock::Duration timeout) {
  if (may_progress_ || !received_.empty() || !ended_.empty() || !failed_.empty()) return true;
  // Anything but OK: something has come already.
  if (ucp_worker_arm(worker_.get()) != UCS_OK) return true;
  std::array<pollfd, 2> files = {
      {{.fd = event_fd_, .events = POLLIN, .revents = 0}, {.fd = wake_fd_, .events = POLLIN, .revents = 0}}};
  if (futile_) {
    pollfd wake = {.fd = wake_fd_, .events = POLLIN, .revents = 0};
    poll(&wake, 1, 1);
  }
  const auto timeout_ns = std::chrono::nanoseconds(std::max(timeout, Clock::Duration(0))).count();
  const timespec limit = {.tv_sec = timeout_ns / 1'000'000'000, .tv_nsec = timeout_ns % 1'000'000'000};
  const bool any = ppoll(files.data(), files.size(), &limit, nullptr) != 0;  // an interrupt counts
  told_ = (files[0].revents & POLLIN) != 0;
  uint64_t wakes = 0;
  [[maybe_unused]] const ssize_t unused = read(wake_fd_, &wakes, sizeof(wakes));
  return any;
}

void UcxTransport::Wake() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t unused = write(wake_fd_, &one, sizeof(one));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Transport>> CreateUcxTransport(const UcxTransportOptions& options) {
  auto transport = std::make_unique<UcxTransport>(options);
  LONGSPAN_RETURN_IF_ERROR(transport->Initialize());
  return transport;
}

}  // namespace longspan
