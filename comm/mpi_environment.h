// The MPI library of this process, from MPI_Init to MPI_Finalize.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace longspan {

// Owns the library: everything else that uses MPI must be destroyed before it. Where the program has already
// called MPI_Init, finalizing stays the program's.
class MpiEnvironment {
 public:
  // Initialises MPI for use by several threads at once (MPI_THREAD_MULTIPLE). FailedPrecondition when the
  // library cannot. Waiting ranks give their core away unless OMPI_MCA_mpi_yield_when_idle says otherwise:
  // without that, more ranks than cores take milliseconds where they need microseconds.
  static absl::StatusOr<std::unique_ptr<MpiEnvironment>> Create();

  // Waits for all ranks. A rank that ends because of an error must call Abort, or return from main without
  // destroying this, since the others may be waiting for it elsewhere.
  ~MpiEnvironment();
  MpiEnvironment(const MpiEnvironment&) = delete;
  MpiEnvironment& operator=(const MpiEnvironment&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  const std::string& host() const { return host_; }

  // Ends all ranks of the job, now.
  [[noreturn]] void Abort(int exit_code);

 private:
  explicit MpiEnvironment(bool owned) : owned_(owned) {}

  const bool owned_;
  int rank_ = 0;
  int size_ = 1;
  std::string host_;
};

}  // namespace longspan
