// Ranks that are threads, over the loopback interface. Some are played by the test: they go through the
// rendezvous, and then do what a rank does that is killed or stopped.
#include "comm/liveness.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "comm/liveness_rendezvous.h"
#include "comm/thread_bootstrap.h"

namespace longspan {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::chrono::minutes kLong{10};

// What the ranks of a job said and did, in order.
class Journal {
 public:
  void Add(std::string entry) {
    const std::lock_guard<std::mutex> lock(mutex_);
    entries_.push_back(std::move(entry));
    changed_.notify_all();
  }
  void WaitFor(const std::string& part) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return Find(part) < entries_.size(); });
  }
  // Where the first entry is that contains it.
  size_t Find(const std::string& part) const {
    const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const std::string& entry) {
      return entry.find(part) != std::string::npos;
    });
    return static_cast<size_t>(found - entries_.begin());
  }
  // Each is there, after those before.
  testing::AssertionResult Tells(const std::vector<std::string>& parts) const {
    size_t least = 0;
    for (const std::string& part : parts) {
      const size_t place = Find(part);
      if (place < least || place == entries_.size()) {
        return testing::AssertionFailure()
               << "'" << part << "' is not there, or too early, in:" << ToString();
      }
      least = place;
    }
    return testing::AssertionSuccess();
  }
  std::string ToString() const {
    std::string text;
    for (const std::string& entry : entries_) absl::StrAppend(&text, "\n  ", entry);
    return text;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> entries_;
};

struct Rank {
  Bootstrap* bootstrap = nullptr;
  Journal* journal = nullptr;
  LivenessOptions options;
  ProgressRecord record;
  SteadyClock clock;

  std::string Name() const { return absl::StrCat("rank ", bootstrap->rank(), " (", bootstrap->host(), ")"); }
  absl::StatusOr<std::unique_ptr<Liveness>> Start() {
    return Liveness::Start(*bootstrap, record, clock, options);
  }
  // With liveness, until the journal has it.
  void LiveUntil(const std::string& part) {
    absl::StatusOr<std::unique_ptr<Liveness>> liveness = Start();
    ASSERT_TRUE(liveness.ok()) << liveness.status();
    journal->WaitFor(part);
  }

  // Instead of liveness: the rendezvous by hand.
  std::vector<std::string> Introduce() {
    return *bootstrap->AllGather(absl::StrCat(getpid(), " ", NetworkName(), " ", bootstrap->host()));
  }
  LivenessConnection PlayOther() {
    Introduce();
    std::string blob;
    EXPECT_TRUE(bootstrap->Broadcast(&blob, 0).ok());
    absl::StatusOr<LivenessConnection> connection =
        ConnectToRankZero(*LivenessAddress::FromBlob(blob), bootstrap->rank(), seconds(60));
    EXPECT_TRUE(connection.ok()) << connection.status();
    EXPECT_TRUE(bootstrap->AllGather("").ok());
    return *std::move(connection);
  }
  std::vector<LivenessConnection> PlayRankZero() {
    Introduce();
    absl::StatusOr<LivenessListener> listener = LivenessListener::Create(/*loopback_only=*/false);
    std::string blob = listener->address().ToBlob();
    EXPECT_TRUE(bootstrap->Broadcast(&blob, 0).ok());
    auto connections = listener->Accept(bootstrap->size(), seconds(60));
    EXPECT_TRUE(connections.ok()) << connections.status();
    EXPECT_TRUE(bootstrap->AllGather("").ok());
    return *std::move(connections);
  }
};

// Each rank on a thread of its own. Nobody is missed unless `limits` say so.
void RunJob(int ranks, Journal& journal, const LivenessLimits& limits,
            const std::function<void(Rank&)>& body) {
  const std::vector<std::unique_ptr<Bootstrap>> bootstraps = CreateThreadBootstraps(ranks);
  std::vector<std::thread> threads;
  for (const std::unique_ptr<Bootstrap>& bootstrap : bootstraps) {
    threads.emplace_back([&, bootstrap = bootstrap.get()] {
      Rank rank;
      rank.bootstrap = bootstrap;
      rank.journal = &journal;
      rank.options.interval = milliseconds(20);
      rank.options.limits = limits;
      rank.options.last_words = rank.options.patience = kLong;
      const std::string prefix = absl::StrCat("<", bootstrap->rank(), "> ");
      rank.options.on_loss = [&journal, prefix](const absl::Status& status) {
        journal.Add(absl::StrCat(prefix, "loss: ", std::string(status.message())));
      };
      rank.options.print = [&journal, prefix](const std::string& line) {
        journal.Add(absl::StrCat(prefix, "prints: ", line));
      };
      rank.options.end = [&journal, prefix] { journal.Add(absl::StrCat(prefix, "ends")); };
      body(rank);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

LivenessLimits Patient() {
  LivenessLimits limits;
  limits.silence = limits.step = limits.loading = kLong;
  limits.settling = milliseconds(20);
  return limits;
}

TEST(LivenessTest, LeavesInOrder) {
  for (int repeat = 0; repeat < 20; ++repeat) {
    Journal journal;
    RunJob(4, journal, Patient(), [repeat](Rank& rank) {
      const auto liveness = rank.Start();
      ASSERT_TRUE(liveness.ok()) << liveness.status();
      // Now one, now another comes to it last, while heartbeats are under way.
      std::this_thread::sleep_for(milliseconds((rank.bootstrap->rank() + repeat) % 4 * 10));
    });
    EXPECT_EQ(journal.ToString(), "");
  }
}

TEST(LivenessTest, RankThatEndsEndsTheJob) {
  Journal journal;
  RunJob(3, journal, Patient(), [](Rank& rank) {
    if (rank.bootstrap->rank() == 2) {
      LivenessConnection connection = rank.PlayOther();
      LivenessMessage beat;
      beat.rank = 2;
      ProgressRecord record;
      record.BeginStep("planning");
      record.EnterLayer(5);
      record.Enter("all-to-all over kvp");
      beat.activity = record.Read();
      EXPECT_TRUE(connection.Send(beat));
      return;
    }
    rank.record.BeginStep("planning");
    rank.record.Enter("logits");
    rank.LiveUntil(absl::StrCat("<", rank.bootstrap->rank(), "> ends"));
  });
  EXPECT_TRUE(journal.Tells(
      {"<0> loss: lost rank 2 on ", "<0> prints: rank 0 (", "<0> prints: lost rank 2 on ", "<0> ends"}));
  EXPECT_TRUE(journal.Tells({"<1> prints: rank 1 (", "<0> prints: lost rank 2 on ", "<1> ends"}));
  EXPECT_TRUE(journal.Tells({"its process has ended; last heard of "}));
  EXPECT_TRUE(journal.Tells({"ago in step 1, layer 5: all-to-all over kvp"}));
  EXPECT_TRUE(journal.Tells({"): step 1: logits, for "}));
}

TEST(LivenessTest, RankThatIsStoppedEndsTheJob) {
  Journal journal;
  LivenessLimits limits = Patient();
  limits.silence = milliseconds(300);
  RunJob(2, journal, limits, [](Rank& rank) {
    if (rank.bootstrap->rank() == 0) return rank.LiveUntil("<0> ends");
    const LivenessConnection connection = rank.PlayOther();
    rank.journal->WaitFor("<0> ends");
  });
  EXPECT_TRUE(journal.Tells({"<0> loss: lost rank 1 on ", "<0> prints: rank 0 (", "<0> ends"}));
  EXPECT_TRUE(journal.Tells({"): no sign of life"}));
  EXPECT_TRUE(journal.Tells({"; nothing was ever heard of it"}));
}

TEST(LivenessTest, RankThatHangsEndsTheJob) {
  Journal journal;
  LivenessLimits limits = Patient();
  limits.step = milliseconds(300);
  RunJob(3, journal, limits, [](Rank& rank) {
    rank.record.BeginStep("planning");
    if (rank.bootstrap->rank() != 1) rank.record.Enter("all-reduce");
    rank.LiveUntil(absl::StrCat("<", rank.bootstrap->rank(), "> ends"));
  });
  EXPECT_TRUE(journal.Tells({"<0> loss: rank 1 on ", "hangs in step 1: planning", "<0> prints: rank 1 on "}));
  EXPECT_TRUE(journal.Tells({"<2> prints: rank 2 (", "<2> ends"}));
  EXPECT_TRUE(journal.Tells({"): step 1: all-reduce, for "}));
}

TEST(LivenessTest, OthersEndWithoutRankZero) {
  Journal journal;
  RunJob(3, journal, Patient(), [](Rank& rank) {
    if (rank.bootstrap->rank() == 0) {
      rank.PlayRankZero();
    } else {
      rank.LiveUntil(absl::StrCat("<", rank.bootstrap->rank(), "> ends"));
    }
  });
  for (const std::string rank : {"1", "2"}) {
    EXPECT_TRUE(journal.Tells({"<" + rank + "> prints: rank " + rank + " (", "<" + rank + "> ends"}));
  }
  EXPECT_TRUE(journal.Tells({"; lost rank 0 on "}));
}

TEST(LivenessTest, FailureOfARankEndsTheJob) {
  Journal journal;
  RunJob(3, journal, Patient(), [](Rank& rank) {
    if (rank.bootstrap->rank() != 1)
      return rank.LiveUntil(absl::StrCat("<", rank.bootstrap->rank(), "> ends"));
    const auto liveness = rank.Start();
    ASSERT_TRUE(liveness.ok()) << liveness.status();
    (*liveness)->Fail(absl::InternalError("no memory left"));
    rank.journal->Add("Fail has returned");
  });
  EXPECT_TRUE(journal.Tells({"<0> loss: rank 1 on ", "): no memory left", "<0> prints: rank 0 (",
                             "<0> prints: rank 1 on ", "<0> ends", "<1> ends", "Fail has returned"}));
}

TEST(LivenessTest, FailureOfRankZeroIsItsOwnAffair) {
  Journal journal;
  RunJob(2, journal, Patient(), [](Rank& rank) {
    if (rank.bootstrap->rank() != 0) return rank.LiveUntil("<1> ends");
    const auto liveness = rank.Start();
    ASSERT_TRUE(liveness.ok()) << liveness.status();
    (*liveness)->Fail(absl::InternalError("no memory left"));
  });
  EXPECT_TRUE(journal.Tells({"<1> prints: rank 1 (", "<0> prints: no memory left", "<0> ends", "<1> ends"}));
  EXPECT_FALSE(journal.Tells({"loss:"}));
}

TEST(LivenessRendezvousTest, TurnsStrangersAway) {
  absl::StatusOr<LivenessListener> listener = LivenessListener::Create(/*loopback_only=*/true);
  ASSERT_TRUE(listener.ok()) << listener.status();
  std::thread others([&] {
    LivenessAddress address = listener->address();
    address.token[3] ^= 1;
    const auto wrong_token = ConnectToRankZero(address, 1, seconds(60));
    EXPECT_TRUE(absl::IsUnavailable(wrong_token.status()));
    EXPECT_NE(wrong_token.status().message().find("127.0.0.1:"), absl::string_view::npos);
    EXPECT_NE(wrong_token.status().message().find("turned away"), absl::string_view::npos);
    EXPECT_FALSE(ConnectToRankZero(listener->address(), 3, seconds(60)).ok());
    EXPECT_FALSE(ConnectToRankZero(listener->address(), 0, seconds(60)).ok());
    EXPECT_TRUE(ConnectToRankZero(listener->address(), 1, seconds(60)).ok());
    EXPECT_FALSE(ConnectToRankZero(listener->address(), 1, seconds(60)).ok());
    EXPECT_TRUE(ConnectToRankZero(listener->address(), 2, seconds(60)).ok());
  });
  EXPECT_TRUE(listener->Accept(3, seconds(60)).ok());
  others.join();
}

TEST(LivenessRendezvousTest, SaysWhoHasNotCome) {
  absl::StatusOr<LivenessListener> listener = LivenessListener::Create(/*loopback_only=*/true);
  ASSERT_TRUE(listener.ok()) << listener.status();
  const absl::Status status = listener->Accept(3, milliseconds(10)).status();
  EXPECT_NE(status.message().find("no connection came from rank 1, 2"), absl::string_view::npos) << status;
}

TEST(LivenessRendezvousTest, AddressSurvivesTheWay) {
  LivenessAddress address;
  address.token[0] = 0;
  address.token[15] = 255;
  address.port = 65535;
  address.hosts = {"10.0.0.1", "2001:db8::1"};
  const absl::StatusOr<LivenessAddress> parsed = LivenessAddress::FromBlob(address.ToBlob());
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->token, address.token);
  EXPECT_EQ(parsed->port, address.port);
  EXPECT_EQ(parsed->hosts, address.hosts);
  for (const std::string& blob : {std::string(), std::string(16, 'x'), std::string(17, 'x'),
                                  std::string(16, 'x') + "0", std::string(16, 'x') + "65536 10.0.0.1"}) {
    EXPECT_FALSE(LivenessAddress::FromBlob(blob).ok()) << blob;
  }
}

}  // namespace
}  // namespace longspan
