#include "comm/clock.h"
#include "comm/faulty_communicator.h"
#include "comm/mpi_bootstrap.h"
#include "comm/mpi_communicator.h"
#include "comm/mpi_environment.h"
#include "comm/shared_memory_bootstrap.h"
#include "comm/shared_memory_communicator.h"
#include "kernels/check.h"
#include "tests/comm/worlds.h"

namespace longspan {
namespace {

// MPI itself is the main program's.
const MpiEnvironment& Environment() {
  static const std::unique_ptr<MpiEnvironment> environment = [] {
    absl::StatusOr<std::unique_ptr<MpiEnvironment>> created = MpiEnvironment::Create();
    LONGSPAN_CHECK(created.ok());
    return *std::move(created);
  }();
  return *environment;
}

std::unique_ptr<Communicator> NewCommunicator(const MpiCommunicatorOptions& options = {}) {
  absl::StatusOr<std::unique_ptr<Communicator>> created = CreateMpiCommunicator(Environment(), options);
  LONGSPAN_CHECK(created.ok());
  return *std::move(created);
}

std::unique_ptr<Communicator> NewSharedMemoryCommunicator(const SharedMemoryOptions& options = {}) {
  absl::StatusOr<std::unique_ptr<Communicator>> created =
      CreateSharedMemoryCommunicator(Environment(), options);
  LONGSPAN_CHECK(created.ok());
  return *std::move(created);
}

}  // namespace

std::vector<World<Communicator>> CommunicatorWorlds() {
  using Body = World<Communicator>::Body;
  return {
      {"mpi", [](const Body& body) { body(*NewCommunicator()); }},
      // Every transfer of the suite that is longer than this takes several messages.
      {"mpi_short_messages", [](const Body& body) { body(*NewCommunicator({.max_message_bytes = 1000})); }},
      {"shared_memory", [](const Body& body) { body(*NewSharedMemoryCommunicator()); }},
      // Every transfer of the suite that is longer than this takes several slots, and goes several times
      // round the ring.
      {"shared_memory_short_slots",
       [](const Body& body) {
         body(*NewSharedMemoryCommunicator({.slot_bytes = 128, .least_direct_bytes = SIZE_MAX}));
       }},
      {"shared_memory_direct",
       [](const Body& body) { body(*NewSharedMemoryCommunicator({.least_direct_bytes = 1})); }},
      {"late_shared_memory",
       [](const Body& body) {
         body(*CreateFaultyCommunicator(NewSharedMemoryCommunicator(),
                                        {.seed = 7, .max_delay = std::chrono::microseconds(300)}));
       }},
      {"late_mpi",
       [](const Body& body) {
         body(*CreateFaultyCommunicator(NewCommunicator(),
                                        {.seed = 7, .max_delay = std::chrono::microseconds(300)}));
       }},
  };
}

std::vector<World<Bootstrap>> BootstrapWorlds() {
  return {{"mpi",
           [](const World<Bootstrap>::Body& body) {
             const SteadyClock clock;
             absl::StatusOr<std::unique_ptr<Bootstrap>> created = CreateMpiBootstrap(Environment(), clock);
             LONGSPAN_CHECK(created.ok());
             body(**created);
           }},
          {"shared_memory", [](const World<Bootstrap>::Body& body) {
             absl::StatusOr<std::unique_ptr<Bootstrap>> created = CreateSharedMemoryBootstrap(Environment());
             LONGSPAN_CHECK(created.ok());
             body(**created);
           }}};
}

}  // namespace longspan
