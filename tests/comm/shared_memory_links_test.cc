// Links to a process that ends: under mpirun its end would be the end of the test.
#include "comm/shared_memory_links.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"

namespace longspan {
namespace {

using Sends = std::vector<std::span<const std::byte>>;
using Receives = std::vector<std::span<std::byte>>;

// Sends `byte` to the other one of two ranks and returns what came from there.
absl::StatusOr<std::byte> Swap(SharedMemoryLinks& links, std::byte byte) {
  std::byte received{};
  absl::Status status = links.Exchange(CommOp::kAllToAll, Sends(2, {&byte, 1}), Receives(2, {&received, 1}));
  if (!status.ok()) return status;
  return received;
}

// Rank 1 is a child that swaps once and ends, while rank 0 goes on.
TEST(SharedMemoryLinksTest, ReportsAPeerThatHasEnded) {
  for (const bool may_spin : {false, true}) {
    absl::StatusOr<OwnedMpiComm> self = OwnedMpiComm::Duplicate(MPI_COMM_SELF);
    ASSERT_TRUE(self.ok());
    const RingLayout layout(/*num_ranks=*/2, SharedMemoryOptions().slot_bytes);
    absl::StatusOr<SharedSegment> segment = SharedSegment::Create(*self, layout.total_bytes());
    ASSERT_TRUE(segment.ok()) << segment.status();
    SharedMemoryLinks::Place place;
    place.host = "here";
    place.may_spin = may_spin;
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    place.rank = child == 0 ? 1 : 0;
    place.processes = child == 0 ? std::vector<int>{getppid(), getpid()} : std::vector<int>{getpid(), child};
    SharedMemoryLinks links(place, {}, *std::move(segment));
    if (child == 0) {
      const absl::StatusOr<std::byte> swapped = Swap(links, std::byte{11});
      _exit(swapped.ok() && *swapped == std::byte{10} ? 0 : 1);
    }
    int exit_status = -1;
    std::thread reaper([&] { waitpid(child, &exit_status, 0); });

    const absl::StatusOr<std::byte> swapped = Swap(links, std::byte{10});
    EXPECT_TRUE(swapped.ok() && *swapped == std::byte{11}) << swapped.status();
    const absl::Status lost = Swap(links, std::byte{10}).status();
    EXPECT_TRUE(absl::IsUnavailable(lost)) << lost;
    for (const std::string& part : {std::string("rank 1"), absl::StrCat("process ", child),
                                    std::string("rank 0 of 2 on here, operation 2 (all-to-all)")}) {
      EXPECT_NE(lost.message().find(part), absl::string_view::npos) << lost;
    }
    reaper.join();
    EXPECT_EQ(exit_status, 0);
  }
}

}  // namespace
}  // namespace longspan
