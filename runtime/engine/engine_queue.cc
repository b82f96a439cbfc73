#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/status_macros.h"
#include "runtime/engine/engine_state.h"

namespace longspan {
namespace {

// Of the queue that are looked at in one step: bounds what a long queue costs each step.
constexpr size_t kLookahead = 64;

}  // namespace

absl::StatusOr<RequestId> Engine::Submit(Request request, RequestListener* listener) {
  State& state = *state_;
  const EngineOptions& options = state.options;
  LONGSPAN_RETURN_IF_ERROR(state.fault);
  const int64_t chunk_tokens = state.ChunkTokens(request.prompt_logits);
  const RequestLimits& limits = request.prompt_logits ? state.prompt_logits_limits : state.limits;
  LONGSPAN_ASSIGN_OR_RETURN(const int64_t max_tokens, CheckRequest(request, limits));
  if (request.shift) LONGSPAN_RETURN_IF_ERROR(state.CheckShift(request, max_tokens, chunk_tokens));
  for (const auto& peer : {request.receives_from, request.sends_to}) {
    if (peer) LONGSPAN_RETURN_IF_ERROR(state.CheckPeer(*peer, request.shift.has_value()));
  }
  if (state.waiting.size() >= static_cast<size_t>(options.max_waiting)) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the queue is full with ", state.waiting.size(), " requests: try again later"));
  }
  const auto prompt_tokens = static_cast<int64_t>(request.prompt.size());
  if (!state.waiting.empty() && state.waiting.prompt_tokens() > options.max_waiting_tokens - prompt_tokens) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "the queue is full with prompts of ", state.waiting.prompt_tokens(), " tokens and takes ",
        options.max_waiting_tokens, "; this one has ", prompt_tokens, ": try again later"));
  }

  auto sequence = std::make_unique<Sequence>();
  sequence->id = state.next_id++;
  sequence->label = request.label != 0 ? request.label : sequence->id;
  sequence->listener = listener;
  sequence->prompt_tokens = prompt_tokens;
  sequence->tokens = std::move(request.prompt);
  sequence->tokens.insert(sequence->tokens.end(), request.generated.begin(), request.generated.end());
  sequence->max_tokens = max_tokens;
  sequence->chunk_tokens = chunk_tokens;
  sequence->seed = request.sampling.seed.value_or(DeriveSeed(options.seed, sequence->id));
  sequence->sampling = std::move(request.sampling);
  sequence->ignore_eos = request.ignore_eos;
  sequence->prompt_logits = request.prompt_logits;
  sequence->next_logits = request.first_logits;
  sequence->constraint = std::move(request.constraint);
  if (UsesTokenCounts(sequence->sampling)) {
    for (int64_t i = 0; i < prompt_tokens; ++i)
      sequence->counts.AddPrompt(sequence->tokens[static_cast<size_t>(i)]);
  }
  for (const int32_t token : request.generated) sequence->AcceptOutput(token);
  sequence->shift = request.shift;
  sequence->receives_from = std::move(request.receives_from);
  sequence->sends_to = std::move(request.sends_to);
  sequence->priority = request.priority;
  sequence->deadline = request.deadline;
  if (request.deadline) state.next_deadline = std::min(state.next_deadline, *request.deadline);
  const RequestId id = sequence->id;
  state.waiting.Push(std::move(sequence), state.clock.Now());
  return id;
}

// What an empty store cannot hold with it would wait for ever.
absl::Status Engine::State::CheckShift(const Request& request, int64_t max_tokens,
                                       int64_t chunk_tokens) const {
  const int shift = *request.shift;
  const KvGeometry& geometry = blocks->geometry();
  if (shift < 0 || shift >= geometry.kvp) {
    return absl::InvalidArgumentError(
        absl::StrCat("shift is ", shift, "; it must be from 0 to ", geometry.kvp - 1));
  }
  const auto prompt_tokens = static_cast<int64_t>(request.prompt.size());
  const int64_t total_tokens =
      prompt_tokens + (request.sends_to ? static_cast<int64_t>(request.generated.size()) + 1 : max_tokens);
  if (Reservations(geometry).CanReserve({total_tokens, chunk_tokens}, shift)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("a sequence of ", total_tokens, " tokens does not fit the KV store with shift ", shift));
}

void Engine::Cancel(RequestId id) { state_->End(id, FinishReason::kCancelled); }

bool Engine::HasWork() const {
  // One that waits for its KV has a deadline all the same.
  return !state_->waiting.empty() || !state_->kv_orders.empty() || state_->IsActive() ||
         state_->clock.Now() >= state_->next_deadline;
}

void Engine::State::End(RequestId id, FinishReason reason) {
  if (const std::unique_ptr<Sequence> sequence = waiting.Take(id); sequence != nullptr) {
    Finish(*sequence, reason);
    return;
  }
  const auto it =
      std::find_if(running.begin(), running.end(),
                   [id](const std::unique_ptr<Sequence>& sequence) { return sequence->id == id; });
  if (it == running.end() || (*it)->finished) return;
  if (in_step) {
    // The step still looks at it.
    Finish(**it, reason);
    return;
  }
  const std::unique_ptr<Sequence> sequence = std::move(*it);
  running.erase(it);
  Finish(*sequence, reason);
}

void Engine::State::EndExpired(Clock::Time now) {
  if (now < next_deadline) return;
  next_deadline = Clock::Time::max();
  std::vector<RequestId> expired;
  const auto look = [&](const Sequence& sequence) {
    if (!sequence.deadline) return;
    if (*sequence.deadline <= now) {
      expired.push_back(sequence.id);
    } else {
      next_deadline = std::min(next_deadline, *sequence.deadline);
    }
  };
  waiting.ForEach(look);
  for (const auto& sequence : running) look(*sequence);
  // Listeners may cancel others of them.
  for (const RequestId id : expired) End(id, FinishReason::kDeadline);
}

void Engine::State::AdmitWaiting(Clock::Time now) {
  const auto admit = [this, now] {
    for (Sequence* sequence : waiting.Order(now, kLookahead)) {
      if (Start(*sequence, now)) continue;
      if (PreemptFor(*sequence, now)) return true;
      // Those behind it may go first, but not for ever.
      if (!sequence->held_up_since) sequence->held_up_since = now;
      if (ToSeconds(now - *sequence->held_up_since) >= options.max_overtaken_s) break;
    }
    return false;
  };
  // A preemption changes the queue. It is followed by the start that it was for, so there is an end.
  while (!waiting.empty() && admit()) {
  }
  // Submit refuses what an empty store cannot hold.
  LONGSPAN_CHECK(waiting.empty() || !running.empty());
}

bool Engine::State::Start(Sequence& sequence, Clock::Time now) {
  const std::optional<int> shift =
      Admit(sequence.kv_need(), blocks->reservations(), static_cast<int>(free_slots.size()), sequence.shift);
  if (!shift) return false;
  sequence.blocks = blocks->Reserve(sequence.kv_need(), *shift);
  sequence.slot = free_slots.back();
  free_slots.pop_back();
  sequence.tokens.reserve(static_cast<size_t>(sequence.total_tokens()));
  sequence.prefill_tokens = static_cast<int64_t>(sequence.tokens.size());
  sequence.waited += now - sequence.queued_at;
  sequence.held_up_since.reset();
  sequence.started = false;
  running.push_back(waiting.Take(sequence.id));
  if (sequence.receives_from || sequence.sends_to) OpenHandoff(sequence, now);
  return true;
}

bool Engine::State::PreemptFor(Sequence& sequence, Clock::Time now) {
  if (sequence.shift) return false;  // who chose it has made room for it
  if (std::none_of(running.begin(), running.end(), [&](const std::unique_ptr<Sequence>& other) {
        return other->AgedPriorityAt(now) < sequence.priority;
      })) {
    return false;
  }
  std::vector<VictimView> victim_views;
  for (const auto& other : running) {
    // What KV is moving to or from cannot begin again: another group counts on it.
    const bool is_bound = other->receives_from || other->sends_to;
    const int64_t aged = is_bound ? std::numeric_limits<int64_t>::max() : other->AgedPriorityAt(now);
    victim_views.push_back({aged, other->computed_tokens, other->blocks.reserved()});
  }
  std::vector<size_t> victims = ChooseVictims(sequence.priority, sequence.kv_need(), blocks->reservations(),
                                              static_cast<int>(free_slots.size()), victim_views);
  if (victims.empty()) return false;
  std::sort(victims.rbegin(), victims.rend());  // so that the indices stay right
  for (const size_t victim : victims) Preempt(victim, now);
  LONGSPAN_CHECK(Start(sequence, now));
  return true;
}

void Engine::State::Preempt(size_t index, Clock::Time now) {
  std::unique_ptr<Sequence> sequence = std::move(running[index]);
  running.erase(running.begin() + static_cast<ptrdiff_t>(index));
  totals.recomputed_tokens_total += sequence->computed_tokens;
  ++totals.preemptions_total;
  ++sequence->preemptions;
  Release(*sequence);
  waiting.Push(std::move(sequence), now);
}

void Engine::State::Release(Sequence& sequence) {
  if (sequence.slot < 0) return;
  CloseHandoff(sequence);
  blocks->Free(sequence.blocks);
  free_slots.push_back(sequence.slot);
  sequence.slot = -1;
  sequence.computed_tokens = 0;
}

void Engine::State::AnnounceStarts() {
  in_step = true;
  // Listeners may cancel any sequence, and submit: both leave `running` as it is.
  for (const auto& sequence : running) {
    if (sequence->announced || sequence->finished) continue;
    sequence->announced = true;
    sequence->listener->OnStart();
  }
  in_step = false;
  EraseFinished();
}

void Engine::State::Finish(Sequence& sequence, FinishReason reason) {
  LONGSPAN_CHECK(!sequence.finished);
  sequence.finished = true;
  Release(sequence);
  sequence.listener->OnFinish(reason);
}

void Engine::State::FailAll(const absl::Status& error) {
  fault = error;
  // Listeners may cancel; submitting is refused from here on.
  while (!running.empty()) End(running.front()->id, FinishReason::kError);
  while (!waiting.empty()) End(waiting.Order(clock.Now(), 1).front()->id, FinishReason::kError);
}

}  // namespace longspan
