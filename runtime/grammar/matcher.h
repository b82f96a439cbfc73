// All the ways in which an automaton can have read a text, kept together.
//
// A thread is a state and a frame; a frame stands for what is done once the rule of that state ends. Threads
// that call the same rule at the same place share its frame, which then returns to several states (a
// graph-structured stack: Tomita, Efficient Parsing for Natural Language, 1985), so that ambiguity costs no
// more than the states it has. Threads without a completion are dropped, so one that is left can be
// completed. One thread of the program at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "runtime/grammar/automaton.h"
#include "runtime/grammar/completions.h"

namespace longspan {

class Matcher {
 public:
  // Calls that may be open at the same time: what JSON parsers can follow.
  static constexpr int32_t kMostDepth = 256;
  static constexpr int32_t kOutermost = 0;  // the frame that returns nowhere

  struct Thread {
    StateId state;
    int32_t frame;
    bool called =
        false;  // the start of a rule that another thread calls where it is: says nothing that one does not

    bool operator==(const Thread& other) const { return state == other.state && frame == other.frame; }
  };
  using Threads = std::vector<Thread>;

  // Both must outlive the matcher.
  Matcher(const Automaton& automaton, const Completions& completions);

  // Each appends threads and returns whether the outermost rule can end there.
  bool Start(Thread thread, Threads* out);
  // From threads [first, last) of `threads` by one byte, or one special token.
  bool StepByte(uint8_t byte, size_t first, size_t last, Threads* threads);
  bool StepSpecial(int32_t spelling, size_t first, size_t last, Threads* threads);
  // What goes on after the rule of `frame`, which is not kOutermost.
  bool Return(int32_t frame, Threads* out);

  // Tokens to the end of the outermost rule, as Completions counts them.
  int64_t Distance(Thread thread) const {
    return frames_[static_cast<size_t>(thread.frame)].distance + completions_.tokens(thread.state);
  }
  int64_t FrameDistance(int32_t frame) const { return frames_[static_cast<size_t>(frame)].distance; }
  int32_t FrameDepth(int32_t frame) const { return frames_[static_cast<size_t>(frame)].depth; }
  bool HasCompletion(Thread thread) {
    const int32_t depth = FrameDepth(thread.frame) + completions_.depth(thread.state);
    if (!completions_.exists(thread.state)) return false;
    deepest_ = depth > deepest_ ? depth : deepest_;
    return depth <= kMostDepth;
  }
  // The greatest depth that was asked for so far.
  int32_t deepest() const { return deepest_; }

  // Forgets the frames made since a mark.
  struct Mark {
    size_t frames, links;
  };
  Mark mark() const { return {frames_.size(), links_.size()}; }
  void Rollback(Mark mark) {
    frames_.resize(mark.frames);
    links_.resize(mark.links);
  }
  // Forgets the frames that none of the threads needs, and renumbers the others.
  void Compact(Threads* threads);
  size_t num_frames() const { return frames_.size(); }

 private:
  struct Frame {
    StateId rule;
    int32_t depth;
    int64_t distance;    // from the end of the rule, over the nearest link
    int32_t first_link;  // -1: none
  };
  struct Link {
    Thread to;
    int32_t next;
  };

  void BeginStep();
  bool EndStep();
  void Add(Thread thread, Threads* out);
  void Call(Thread caller, const CallEdge& call, Threads* out);
  bool Visit(Thread thread);
  void UpdateDistance(Frame* frame) const;

  const Automaton& automaton_;
  const Completions& completions_;
  std::vector<Frame> frames_;
  std::vector<Link> links_;
  int32_t deepest_ = 0;

  // Of the step.
  size_t step_frames_ = 0;  // frames from here on are its own
  bool ended_ = false;
  bool shares_frames_ = false;
  Threads visited_;
  std::vector<uint32_t> visited_in_;  // by state: the last step that visited it
  uint32_t step_ = 0;
};

}  // namespace longspan
