// How much memory loading a model takes: mpirun -n N load_memory MODEL
//
// Prints for each rank the growth of its proportional set size (Pss of /proc/self/smaps_rollup) from before
// the model is opened until the group can serve; pages of the KV pool are not touched by then.
#include <cstdio>
#include <fstream>
#include <string>

#include "comm/clock.h"
#include "comm/mpi_bootstrap.h"
#include "comm/mpi_communicator.h"
#include "comm/mpi_environment.h"
#include "kernels/cpu/cpu_backend.h"
#include "runtime/engine/group.h"

namespace {

long long PssBytes() {
  std::ifstream file("/proc/self/smaps_rollup");
  std::string word;
  long long kib = 0;
  while (file >> word) {
    if (word == "Pss:" && file >> kib) return kib * 1024;
  }
  return -1;
}

template <typename T>
T OrDie(absl::StatusOr<T> value) {
  if (!value.ok()) {
    std::fprintf(stderr, "load_memory: %s\n", value.status().ToString().c_str());
    std::exit(1);
  }
  return *std::move(value);
}

}  // namespace

int main(int argc, char** argv) {
  using namespace longspan;
  if (argc != 2) {
    std::fprintf(stderr, "usage: mpirun -n N load_memory MODEL\n");
    return 2;
  }
  const auto environment = OrDie(MpiEnvironment::Create());
  const SteadyClock clock;
  const auto bootstrap = OrDie(CreateMpiBootstrap(*environment, clock));
  auto communicator = OrDie(CreateMpiCommunicator(*environment));
  // One collective first: the library's own buffers are not the model's.
  if (!bootstrap->Barrier().ok()) return 1;
  const auto backend = OrDie(CreateCpuBackend({}));
  const long long before = PssBytes();
  const auto source = OrDie(ModelSource::Open(argv[1]));
  GroupOptions options;
  options.kvp = environment->size();
  options.numerics.isa = DetectIsa();
  options.numerics.ways = ReductionWays(environment->size());
  const auto group = OrDie(Group::Create(*source, *bootstrap, std::move(communicator), *backend, options));
  const std::string growth = std::to_string(PssBytes() - before);
  const auto all = OrDie(bootstrap->AllGather(growth));
  if (environment->rank() == 0) {
    for (size_t r = 0; r < all.size(); ++r) std::printf("rank %zu: %s bytes\n", r, all[r].c_str());
    std::fflush(stdout);
    return group->Shutdown().ok() ? 0 : 1;
  }
  return group->Serve().ok() ? 0 : 1;
}
