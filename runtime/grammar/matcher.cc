#include "runtime/grammar/matcher.h"

#include <algorithm>
#include <limits>

namespace longspan {

Matcher::Matcher(const Automaton& automaton, const Completions& completions)
    : automaton_(automaton),
      completions_(completions),
      frames_{{.rule = -1, .depth = 0, .distance = 0, .first_link = -1}},
      visited_in_(static_cast<size_t>(automaton.num_states()), 0) {}

bool Matcher::Start(Thread thread, Threads* out) {
  BeginStep();
  Add(thread, out);
  return EndStep();
}

bool Matcher::StepByte(uint8_t byte, size_t first, size_t last, Threads* threads) {
  if (last == first + 1) {
    // Most steps of a walk over tokens lead one thread to one state, or nowhere.
    const Thread thread = (*threads)[first];
    const auto reads = [byte](const ByteEdge& edge) { return edge.first <= byte && byte <= edge.last; };
    const std::span<const ByteEdge> edges = automaton_.bytes.of(thread.state);
    const auto edge = std::find_if(edges.begin(), edges.end(), reads);
    if (edge == edges.end()) return false;
    const bool is_only = std::none_of(edge + 1, edges.end(), reads);
    const bool only_reads =
        automaton_.calls.of(edge->target).empty() && !automaton_.accepting[static_cast<size_t>(edge->target)];
    if (is_only && only_reads) {
      const Thread next{edge->target, thread.frame};
      if (HasCompletion(next)) threads->push_back(next);
      return false;
    }
  }
  BeginStep();
  for (size_t i = first; i < last; ++i) {
    const Thread thread = (*threads)[i];
    for (const ByteEdge& edge : automaton_.bytes.of(thread.state)) {
      if (edge.first <= byte && byte <= edge.last) Add({edge.target, thread.frame}, threads);
    }
  }
  return EndStep();
}

bool Matcher::StepSpecial(int32_t spelling, size_t first, size_t last, Threads* threads) {
  BeginStep();
  for (size_t i = first; i < last; ++i) {
    const Thread thread = (*threads)[i];
    for (const SpecialEdge& edge : automaton_.specials.of(thread.state)) {
      if (edge.spelling == spelling) Add({edge.target, thread.frame}, threads);
    }
  }
  return EndStep();
}

bool Matcher::Return(int32_t frame, Threads* out) {
  BeginStep();
  for (int32_t link = frames_[static_cast<size_t>(frame)].first_link; link >= 0;) {
    const Link& l = links_[static_cast<size_t>(link)];
    link = l.next;
    Add(l.to, out);
  }
  return EndStep();
}

void Matcher::BeginStep() {
  if (++step_ == 0) {  // all numbers were used
    std::fill(visited_in_.begin(), visited_in_.end(), 0);
    step_ = 1;
  }
  visited_.clear();
  step_frames_ = frames_.size();
  ended_ = false;
  shares_frames_ = false;
}

bool Matcher::EndStep() {
  // A frame got a nearer link, perhaps after frames that return to it were made.
  for (bool changes = shares_frames_; changes;) {
    changes = false;
    for (size_t i = step_frames_; i < frames_.size(); ++i) {
      const int64_t before = frames_[i].distance;
      UpdateDistance(&frames_[i]);
      changes = changes || frames_[i].distance != before;
    }
  }
  return ended_;
}

void Matcher::UpdateDistance(Frame* frame) const {
  for (int32_t link = frame->first_link; link >= 0; link = links_[static_cast<size_t>(link)].next) {
    frame->distance = std::min(frame->distance, Distance(links_[static_cast<size_t>(link)].to));
  }
}

bool Matcher::Visit(Thread thread) {
  uint32_t& visited_in = visited_in_[static_cast<size_t>(thread.state)];
  if (visited_in == step_ && std::find(visited_.begin(), visited_.end(), thread) != visited_.end()) {
    return false;
  }
  visited_in = step_;
  visited_.push_back(thread);
  return true;
}

void Matcher::Add(Thread thread, Threads* out) {
  if (!HasCompletion(thread) || !Visit(thread)) return;
  if (automaton_.accepting[static_cast<size_t>(thread.state)]) {
    ended_ = ended_ || thread.frame == kOutermost;
    for (int32_t link = frames_[static_cast<size_t>(thread.frame)].first_link; link >= 0;) {
      // A copy: adding makes links. The frame gets none, since its rule has read something and so it is not
      // of this step.
      const Link l = links_[static_cast<size_t>(link)];
      link = l.next;
      Add(l.to, out);
    }
  }
  const bool reads =
      !automaton_.bytes.of(thread.state).empty() || !automaton_.specials.of(thread.state).empty();
  const std::span<const CallEdge> calls = automaton_.calls.of(thread.state);
  if (reads || (!thread.called && !calls.empty())) out->push_back(thread);
  for (const CallEdge& call : calls) Call(thread, call, out);
}

void Matcher::Call(Thread caller, const CallEdge& call, Threads* out) {
  const Thread after{call.target, caller.frame};
  if (!HasCompletion(after) || !completions_.exists(call.rule)) return;
  // Frames differ by depth as well, so that each is as deep as its callers say.
  const int32_t depth = FrameDepth(caller.frame) + 1;
  size_t frame = step_frames_;
  while (frame < frames_.size() && (frames_[frame].rule != call.rule || frames_[frame].depth != depth)) {
    ++frame;
  }
  const bool is_new = frame == frames_.size();
  if (is_new) {
    frames_.push_back({.rule = call.rule,
                       .depth = depth,
                       .distance = std::numeric_limits<int64_t>::max() / 2,
                       .first_link = -1});
  }
  Frame& f = frames_[frame];
  for (int32_t link = f.first_link; link >= 0; link = links_[static_cast<size_t>(link)].next) {
    if (links_[static_cast<size_t>(link)].to == after) return;
  }
  links_.push_back({after, f.first_link});
  f.first_link = static_cast<int32_t>(links_.size() - 1);
  f.distance = std::min(f.distance, Distance(after));
  if (is_new) {
    Add({call.rule, static_cast<int32_t>(frame), /*called=*/true}, out);
  } else {
    shares_frames_ = true;
  }
}

void Matcher::Compact(Threads* threads) {
  std::vector<int32_t> renumbered(frames_.size(), -1);
  std::vector<int32_t> pending = {kOutermost};
  for (const Thread& thread : *threads) pending.push_back(thread.frame);
  while (!pending.empty()) {
    const int32_t frame = pending.back();
    pending.pop_back();
    if (renumbered[static_cast<size_t>(frame)] == 0) continue;
    renumbered[static_cast<size_t>(frame)] = 0;
    for (int32_t link = frames_[static_cast<size_t>(frame)].first_link; link >= 0;
         link = links_[static_cast<size_t>(link)].next) {
      pending.push_back(links_[static_cast<size_t>(link)].to.frame);
    }
  }
  int32_t next = 0;
  for (int32_t& number : renumbered) {
    if (number == 0) number = next++;
  }
  std::vector<Frame> frames;
  std::vector<Link> links;
  for (size_t i = 0; i < frames_.size(); ++i) {
    if (renumbered[i] < 0) continue;
    frames.push_back(frames_[i]);
    Frame& frame = frames.back();
    frame.first_link = -1;
    for (int32_t link = frames_[i].first_link; link >= 0; link = links_[static_cast<size_t>(link)].next) {
      const Thread& to = links_[static_cast<size_t>(link)].to;
      links.push_back({{to.state, renumbered[static_cast<size_t>(to.frame)]}, frame.first_link});
      frame.first_link = static_cast<int32_t>(links.size() - 1);
    }
  }
  for (Thread& thread : *threads) thread.frame = renumbered[static_cast<size_t>(thread.frame)];
  frames_ = std::move(frames);
  links_ = std::move(links);
}

}  // namespace longspan
