// main() of the test binaries that run under mpirun. Every rank runs the same cases in the same order. Rank 0
// prints the progress and writes the result file; another rank prints only what fails, prefixed with its
// number. After each case the ranks agree on its outcome, so that a failure anywhere fails the case on rank 0
// too, in the result file and in the exit status. A case that failed here while another rank still waits for
// us inside it would hang until ctest's timeout: after a while the whole job is aborted with a line that says
// so.

#include <gtest/gtest.h>
#include <mpi.h>

#include <chrono>
#include <cstdio>
#include <string>
#include <thread>

namespace longspan {
namespace {

constexpr int kAgreeTimeoutS = 20;

// Prints failures of a rank whose ordinary printer is off. It must not cause failures itself.
class FailurePrinter : public testing::EmptyTestEventListener {
 public:
  explicit FailurePrinter(int rank) : rank_(rank) {}

  void OnTestStart(const testing::TestInfo& test) override {
    name_ = std::string(test.test_suite_name()) + "." + test.name();
  }

  void OnTestEnd(const testing::TestInfo&) override { name_ = "outside any case"; }

  // Runs with GTest's own lock held, so it must not ask GTest which case this is.
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (result.passed() || result.skipped()) return;
    std::fprintf(stderr, "[rank %d] %s\n%s:%d: Failure\n%s\n", rank_, name_.c_str(),
                 result.file_name() ? result.file_name() : "unknown file", result.line_number(),
                 result.message());
    std::fflush(stderr);
  }

 private:
  const int rank_;
  std::string name_ = "outside any case";
};

// Carries the outcome of each case over the ranks. Uses a communicator of its own, so that its messages
// cannot be taken for those of the case.
class Agreement : public testing::EmptyTestEventListener {
 public:
  Agreement(int rank, MPI_Comm comm) : rank_(rank), comm_(comm) {}

  void OnTestEnd(const testing::TestInfo& test) override {
    int failed_here = test.result()->Failed() ? 1 : 0;
    int failed_ranks = 0;
    MPI_Request request = MPI_REQUEST_NULL;
    MPI_Iallreduce(&failed_here, &failed_ranks, 1, MPI_INT, MPI_SUM, comm_, &request);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(kAgreeTimeoutS);
    for (int done = 0; !done;) {
      MPI_Test(&request, &done, MPI_STATUS_IGNORE);
      if (!done) std::this_thread::sleep_for(std::chrono::microseconds(200));
      if (!done && failed_here && std::chrono::steady_clock::now() > deadline) {
        std::fprintf(stderr,
                     "[rank %d] %s.%s failed here and another rank did not finish it within %d s: aborting\n",
                     rank_, test.test_suite_name(), test.name(), kAgreeTimeoutS);
        std::fflush(stderr);
        MPI_Abort(comm_, 1);
      }
    }
    if (failed_ranks > 0 && !failed_here && rank_ == 0) {
      ADD_FAILURE() << failed_ranks
                    << " other rank(s) failed this case; their output is prefixed with the rank";
    }
  }

 private:
  const int rank_;
  const MPI_Comm comm_;
};

int RunTests(int argc, char** argv) {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm comm = MPI_COMM_NULL;
  MPI_Comm_dup(MPI_COMM_WORLD, &comm);

  testing::InitGoogleTest(&argc, argv);
  testing::TestEventListeners& listeners = testing::UnitTest::GetInstance()->listeners();
  if (rank != 0) {
    delete listeners.Release(listeners.default_result_printer());
    delete listeners.Release(listeners.default_xml_generator());
    listeners.Append(new FailurePrinter(rank));
  }
  // Listeners hear the end of a case in reverse order: appended last, the agreement comes before the printer
  // and the result file, which so see a failure added by it.
  listeners.Append(new Agreement(rank, comm));

  const int failed_here = RUN_ALL_TESTS();
  int failed_anywhere = 0;
  MPI_Allreduce(&failed_here, &failed_anywhere, 1, MPI_INT, MPI_MAX, comm);
  MPI_Comm_free(&comm);
  return failed_anywhere;
}

}  // namespace
}  // namespace longspan

int main(int argc, char** argv) {
  int provided = MPI_THREAD_SINGLE;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
  if (provided < MPI_THREAD_MULTIPLE) {
    std::fprintf(stderr, "The MPI library offers thread level %d, the tests need MPI_THREAD_MULTIPLE (%d)\n",
                 provided, MPI_THREAD_MULTIPLE);
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  const int failed = longspan::RunTests(argc, argv);
  MPI_Finalize();
  return failed;
}
