// When requests that wait will start, from what those before them still have to do. A pure function.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace longspan {

// What a request still has to do, and what it holds or will hold until then.
struct RemainingWork {
  int64_t prefill_tokens = 0;
  double output_tokens = 0;  // expected
  int64_t pages = 0;         // on the rank where it needs most
};

struct ServiceRates {
  double prefill_tokens_per_s = 0;
  double decode_step_s = 0;
};

struct FreeCapacity {
  int64_t slots = 0;
  int64_t pages = 0;  // on the rank that has least
};

// What comes of one group: prompts are computed one after the other, outputs side by side, and each frees
// what it holds when it ends.
class Forecast {
 public:
  // `running` have their slots and pages. The rates are positive.
  Forecast(std::span<const RemainingWork> running, FreeCapacity free, const ServiceRates& rates);

  // Seconds until there is a slot and so many pages, or until all have ended.
  double RoomFor(int64_t pages) const;
  // Takes one in when there is room for it, and those that come later not before. Returns RoomFor(its pages).
  double Start(const RemainingWork& work);

 private:
  using End = std::pair<double, int64_t>;  // seconds, pages
  struct Room {
    double at_s = 0;
    FreeCapacity free;
    size_t ended = 0;  // of ends_, from its back
  };
  Room FirstRoom(int64_t pages) const;
  End Run(const RemainingWork& work);

  FreeCapacity free_;
  ServiceRates rates_;
  double now_s_ = 0;
  double prefill_end_s_ = 0;  // of all that started so far
  std::vector<End> ends_;     // the earliest at the back
};

}  // namespace longspan
