#include "comm/liveness.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "comm/liveness_rendezvous.h"
#include "kernels/check.h"
#include "kernels/status_macros.h"

namespace longspan {
namespace {

using Kind = LivenessMessage::Kind;

// Rank 0 waits a little longer, so that the others can say what failed.
constexpr std::chrono::seconds kConnectTime{10}, kAcceptTime{12};

struct Introduction {
  RankPlace place;
  std::string network;
};

// By rank.
absl::StatusOr<std::vector<Introduction>> Introduce(Bootstrap& bootstrap) {
  LONGSPAN_ASSIGN_OR_RETURN(
      const std::vector<std::string> blobs,
      bootstrap.AllGather(absl::StrCat(getpid(), " ", NetworkName(), " ", bootstrap.host())));
  std::vector<Introduction> all;
  for (const std::string& blob : blobs) {
    const std::vector<std::string> words = absl::StrSplit(blob, absl::MaxSplits(' ', 2));
    Introduction& introduction = all.emplace_back();
    introduction.place.rank = static_cast<int>(all.size()) - 1;
    if (words.size() != 3 || !absl::SimpleAtoi(words[0], &introduction.place.process)) {
      return absl::InternalError("a rank sent a message of wrong form; do all ranks run the same program?");
    }
    introduction.network = words[1];
    introduction.place.host = words[2];
  }
  return all;
}

bool ShareNetwork(const Introduction& a, const Introduction& b) {
  return !a.network.empty() && a.network == b.network;
}

// To rank 0, or on rank 0 to all others.
absl::StatusOr<std::vector<LivenessConnection>> Connect(Bootstrap& bootstrap,
                                                        const std::vector<Introduction>& ranks) {
  if (bootstrap.rank() == 0) {
    const bool one_network = std::all_of(
        ranks.begin(), ranks.end(), [&](const Introduction& other) { return ShareNetwork(ranks[0], other); });
    absl::StatusOr<LivenessListener> listener = LivenessListener::Create(one_network);
    std::string blob = listener.ok() ? listener->address().ToBlob() : "";
    LONGSPAN_RETURN_IF_ERROR(bootstrap.Broadcast(&blob, /*root=*/0));
    if (!listener.ok()) return listener.status();
    return listener->Accept(bootstrap.size(), kAcceptTime);
  }
  std::string blob;
  LONGSPAN_RETURN_IF_ERROR(bootstrap.Broadcast(&blob, /*root=*/0));
  std::vector<LivenessConnection> to_rank_zero;
  if (blob.empty()) return to_rank_zero;  // rank 0 says why
  LONGSPAN_ASSIGN_OR_RETURN(LivenessAddress address, LivenessAddress::FromBlob(blob));
  if (!ShareNetwork(ranks[0], ranks[static_cast<size_t>(bootstrap.rank())])) {
    std::erase(address.hosts, kLoopbackHost);
  }
  LONGSPAN_ASSIGN_OR_RETURN(LivenessConnection connection,
                            ConnectToRankZero(address, bootstrap.rank(), kConnectTime));
  to_rank_zero.push_back(std::move(connection));
  return to_rank_zero;
}

// Whether all could. Those who tried to connect know more about a failure than rank 0, which waited for them.
absl::Status AllConnected(Bootstrap& bootstrap, const std::vector<Introduction>& ranks,
                          const absl::Status& mine) {
  LONGSPAN_ASSIGN_OR_RETURN(const std::vector<std::string> reasons,
                            bootstrap.AllGather(std::string(mine.message())));
  for (size_t i = 1; i <= reasons.size(); ++i) {
    const size_t rank = i % reasons.size();
    if (reasons[rank].empty()) continue;
    return absl::UnavailableError(
        absl::StrCat("rank ", rank, " on ", ranks[rank].place.host, ": ", reasons[rank]));
  }
  return absl::OkStatus();
}

LivenessLimits LimitsOf(int rank, LivenessLimits limits) {
  // Who hangs can be told by rank 0 alone, which hears from all.
  if (rank != 0) limits.step = limits.loading = Clock::Duration::max();
  return limits;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Liveness>> Liveness::Start(Bootstrap& bootstrap, const ProgressRecord& record,
                                                          const Clock& clock, LivenessOptions options) {
  LONGSPAN_CHECK(bootstrap.size() > 1 && options.on_loss && options.print && options.end);
  const int rank = bootstrap.rank();
  LONGSPAN_ASSIGN_OR_RETURN(const std::vector<Introduction> ranks, Introduce(bootstrap));
  FileDescriptor wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  absl::StatusOr<std::vector<LivenessConnection>> connections = Connect(bootstrap, ranks);
  if (connections.ok() && wake.number() < 0) connections = absl::UnavailableError("heartbeats: no eventfd");
  LONGSPAN_RETURN_IF_ERROR(AllConnected(bootstrap, ranks, connections.status()));
  std::vector<Peer> peers;
  for (LivenessConnection& connection : *connections) {
    peers.push_back({ranks[rank == 0 ? peers.size() + 1 : 0].place, std::move(connection)});
  }
  return std::unique_ptr<Liveness>(new Liveness(rank, bootstrap.host(), std::move(peers), std::move(wake),
                                                record, clock, std::move(options)));
}

Liveness::Liveness(int rank, std::string host, std::vector<Peer> peers, FileDescriptor wake,
                   const ProgressRecord& record, const Clock& clock, LivenessOptions options)
    : rank_(rank),
      host_(std::move(host)),
      wake_(std::move(wake)),
      record_(record),
      clock_(clock),
      options_(std::move(options)),
      peers_(std::move(peers)),
      monitor_(rank, Watched(), LimitsOf(rank, options_.limits), clock.Now()),
      doing_(record.Read()),
      since_(clock.Now()) {
  // Signals are for the threads that expect them.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] {
    Run();
    const std::lock_guard<std::mutex> lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

std::vector<RankPlace> Liveness::Watched() const {
  std::vector<RankPlace> places;
  for (const Peer& peer : peers_) places.push_back(peer.place);
  if (rank_ == 0) places.push_back({0, host_, static_cast<int>(getpid())});
  return places;
}

Liveness::~Liveness() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    leave_ = true;
  }
  Wake();
  thread_.join();
}

void Liveness::Fail(const absl::Status& status) {
  LONGSPAN_CHECK(!status.ok());
  std::unique_lock<std::mutex> lock(mutex_);
  if (failure_.ok()) failure_ = status;
  Wake();
  changed_.wait(lock, [this] { return ended_; });
}

void Liveness::Wake() {
  const uint64_t one = 1;
  LONGSPAN_CHECK(write(wake_.number(), &one, sizeof one) == sizeof one);
}

void Liveness::Run() {
  Clock::Time next_beat = clock_.Now();
  for (;;) {
    Listen(monitor_.suspects() ? options_.limits.settling / 4 : next_beat - clock_.Now());
    Look();
    if (aborted_) return EndAsTold();
    TakeOrders();
    if (leaving_ && monitor_.AllLeft()) {
      if (rank_ == 0) SendToAll(Kind::kGoodbye);
      return;
    }
    const std::optional<Loss> loss = monitor_.Check(clock_.Now());
    if (loss) return rank_ == 0 ? EndJob(*loss) : EndAlone(std::string(loss->status.message()));
    if (failed_ && clock_.Now() - *failed_ >= options_.patience) return EndAlone(reason_);
    if (clock_.Now() < next_beat) continue;
    // Who has said goodbye sends nothing more, so that nothing is unread when the other end closes.
    if (rank_ == 0 || !leaving_) SendToAll(Kind::kBeat);
    next_beat = clock_.Now() + options_.interval;
  }
}

void Liveness::Listen(Clock::Duration timeout) {
  polled_.assign(1, {wake_.number(), POLLIN, 0});
  for (const Peer& peer : peers_) polled_.push_back({peer.connection.socket(), POLLIN, 0});
  const auto timeout_ms = std::chrono::ceil<std::chrono::milliseconds>(timeout).count();
  if (poll(polled_.data(), polled_.size(), static_cast<int>(std::max<int64_t>(timeout_ms, 0))) <= 0) return;
  uint64_t count = 0;
  if (polled_[0].revents != 0 && read(wake_.number(), &count, sizeof count) < 0) count = 0;
  for (size_t i = 0; i < peers_.size(); ++i) {
    Peer& peer = peers_[i];
    if (polled_[i + 1].revents == 0) continue;
    messages_.clear();
    const bool open = peer.connection.Receive(&messages_);
    for (const LivenessMessage& message : messages_) Take(peer, message);
    if (open) continue;
    peer.connection.Close();
    monitor_.Closed(peer.place.rank, clock_.Now());
  }
}

void Liveness::Take(Peer& peer, const LivenessMessage& message) {
  const int rank = peer.place.rank;
  const Clock::Time now = clock_.Now();
  monitor_.Heard(rank, message.activity, now);
  switch (message.kind) {
    case Kind::kFailed:
      monitor_.Failed(rank, absl::UnknownError(message.Text()), now);
      return;
    case Kind::kAbort:
      aborted_ = true;
      return;
    case Kind::kGoodbye:
      peer.said_goodbye = true;
      monitor_.Left(rank);
      return;
    case Kind::kHello:
    case Kind::kBeat:
      return;
  }
}

void Liveness::Look() {
  const Activity activity = record_.Read();
  const Clock::Time now = clock_.Now();
  if (activity != doing_) {
    doing_ = activity;
    since_ = now;
  }
  if (rank_ == 0) monitor_.Heard(0, doing_, now);
}

void Liveness::TakeOrders() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!failure_.ok() && !failed_) {
    failed_ = clock_.Now();
    reason_ = std::string(failure_.message());
    if (rank_ == 0) {
      monitor_.Failed(0, failure_, clock_.Now());
    } else {
      SendToAll(Kind::kFailed, reason_);
    }
  }
  if (leave_ && !leaving_) {
    leaving_ = true;
    if (rank_ != 0) SendToAll(Kind::kGoodbye);
  }
}

void Liveness::SendToAll(Kind kind, std::string_view text) {
  LivenessMessage message;
  message.kind = kind;
  message.rank = rank_;
  message.activity = doing_;
  message.SetText(text);
  for (Peer& peer : peers_) {
    // A broken connection is noticed where it is read.
    if (peer.connection.open()) peer.connection.Send(message);
  }
}

std::string Liveness::Where() const {
  const double seconds = ToSeconds(clock_.Now() - since_);
  return absl::StrCat("rank ", rank_, " (", host_, "): ", doing_.ToString(),
                      absl::StrFormat(", for %.1f s", seconds));
}

void Liveness::EndJob(const Loss& loss) {
  SendToAll(Kind::kAbort);
  if (loss.rank != rank_ || !failed_) options_.on_loss(loss.status);
  options_.print(Where());
  const auto speaks = [&](const Peer& peer) {
    return peer.place.rank != loss.rank && peer.connection.open() && !peer.said_goodbye;
  };
  const Clock::Time end = clock_.Now() + options_.last_words;
  while (std::any_of(peers_.begin(), peers_.end(), speaks) && clock_.Now() < end) Listen(end - clock_.Now());
  options_.print(std::string(loss.status.message()));
  options_.end();
}

void Liveness::EndAsTold() {
  options_.print(Where());
  SendToAll(Kind::kGoodbye);
  const Clock::Time end = clock_.Now() + options_.patience;
  while (peers_[0].connection.open() && clock_.Now() < end) Listen(end - clock_.Now());
  options_.end();
}

void Liveness::EndAlone(const std::string& reason) {
  options_.print(absl::StrCat(Where(), "; ", reason));
  options_.end();
}

}  // namespace longspan
