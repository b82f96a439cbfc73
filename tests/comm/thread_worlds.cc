#include "absl/strings/str_cat.h"
#include "comm/faulty_communicator.h"
#include "comm/thread_bootstrap.h"
#include "comm/thread_communicator.h"
#include "tests/comm/worlds.h"

namespace longspan {

std::vector<World<Communicator>> CommunicatorWorlds() {
  std::vector<World<Communicator>> worlds;
  for (const int ranks : {1, 2, 3, 4, 8}) {
    worlds.push_back({absl::StrCat("threads_", ranks), [ranks](const World<Communicator>::Body& body) {
                        RunOnThreads(CreateThreadCommunicators(ranks), body);
                      }});
  }
  worlds.push_back(
      {"late_threads_4", [](const World<Communicator>::Body& body) {
         std::vector<std::unique_ptr<Communicator>> late;
         for (auto& communicator : CreateThreadCommunicators(4)) {
           late.push_back(CreateFaultyCommunicator(std::move(communicator),
                                                   {.seed = 7, .max_delay = std::chrono::microseconds(300)}));
         }
         RunOnThreads(late, body);
       }});
  return worlds;
}

std::vector<World<Bootstrap>> BootstrapWorlds() {
  std::vector<World<Bootstrap>> worlds;
  for (const int ranks : {1, 2, 3, 8}) {
    worlds.push_back({absl::StrCat("threads_", ranks), [ranks](const World<Bootstrap>::Body& body) {
                        RunOnThreads(CreateThreadBootstraps(ranks), body);
                      }});
  }
  return worlds;
}

}  // namespace longspan
