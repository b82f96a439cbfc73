#include "runtime/engine/engine.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/status_macros.h"
#include "runtime/engine/engine_state.h"
#include "spdlog/spdlog.h"

namespace longspan {
namespace {

absl::Status ValidateOptions(const EngineOptions& options) {
  const auto at_least = [](const char* name, int64_t value, int64_t least) {
    if (value >= least) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("engine: ", name, " is ", value, "; use at least ", least));
  };
  LONGSPAN_RETURN_IF_ERROR(at_least("chunk_tokens", options.chunk_tokens, 1));
  LONGSPAN_RETURN_IF_ERROR(at_least("max_sequences", options.max_sequences, 1));
  LONGSPAN_RETURN_IF_ERROR(at_least("max_waiting", options.max_waiting, 1));
  LONGSPAN_RETURN_IF_ERROR(at_least("max_context", options.max_context, 1));
  LONGSPAN_RETURN_IF_ERROR(at_least("default_max_tokens", options.default_max_tokens, 1));
  // Each running sequence may need a row in the same step.
  LONGSPAN_RETURN_IF_ERROR(at_least("max_logit_rows", options.max_logit_rows, options.max_sequences));
  LONGSPAN_RETURN_IF_ERROR(at_least("vocab_size", options.vocab_size, 1));
  if (options.vocab_size > kMaxVocabSize) {
    return absl::InvalidArgumentError(absl::StrCat("engine: a vocabulary of ", options.vocab_size,
                                                   " tokens; the sampler takes at most ", kMaxVocabSize));
  }
  if (!(options.itl_target_s >= 0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("engine: itl_target_s is ", options.itl_target_s, "; use at least 0"));
  }
  return absl::OkStatus();
}

const Clock& DefaultClock() {
  static const SteadyClock clock;
  return clock;
}

}  // namespace

Engine::State::State(EngineOptions engine_options, Executor* step_executor,
                     std::unique_ptr<BlockManager> block_manager)
    : options(std::move(engine_options)),
      clock(options.clock != nullptr ? *options.clock : DefaultClock()),
      executor(step_executor),
      blocks(std::move(block_manager)),
      limits(Limits(ChunkTokens(false))),
      prompt_logits_limits(Limits(ChunkTokens(true))),
      pacer(options.itl_target_s, options.chunk_tokens, options.max_logit_rows) {
  for (int i = 0; i < executor->host_threads(); ++i) {
    sampling_threads.push_back({Sampler(options.vocab_size),
                                std::vector<uint64_t>(static_cast<size_t>(options.vocab_size + 63) / 64)});
  }
  // Slot 0 ends on top.
  for (int slot = options.max_sequences - 1; slot >= 0; --slot) free_slots.push_back(slot);
}

int64_t Engine::State::ChunkTokens(bool prompt_logits) const {
  return prompt_logits ? std::min(options.chunk_tokens, options.max_logit_rows) : options.chunk_tokens;
}

// Larger chunks need more of a sliding window's blocks at a time, so what fits depends on them.
RequestLimits Engine::State::Limits(int64_t chunk_tokens) const {
  return {.vocab_size = options.vocab_size,
          .max_context = options.max_context,
          .store_tokens = blocks->reservations().LargestContext(chunk_tokens, options.max_context),
          .default_max_tokens = options.default_max_tokens};
}

absl::StatusOr<std::unique_ptr<Engine>> Engine::Create(EngineOptions options, Executor* executor) {
  LONGSPAN_RETURN_IF_ERROR(ValidateOptions(options));
  LONGSPAN_ASSIGN_OR_RETURN(auto blocks, BlockManager::Create(options.geometry));
  return std::unique_ptr<Engine>(
      new Engine(std::make_unique<State>(std::move(options), executor, std::move(blocks))));
}

Engine::Engine(std::unique_ptr<State> state) : state_(std::move(state)) {}
Engine::~Engine() = default;

absl::Status Engine::Step() {
  State& state = *state_;
  LONGSPAN_CHECK(!state.in_step);
  LONGSPAN_RETURN_IF_ERROR(state.fault);
  const Clock::Time begin = state.clock.Now();
  state.EndExpired(begin);
  state.AdmitWaiting(begin);
  state.AnnounceStarts();
  const bool active = state.IsActive();
  if (!active && state.kv_orders.empty()) return absl::OkStatus();

  state.Plan(begin);
  LONGSPAN_CHECK(active == !state.plan.empty());
  state.BuildBatch();
  const absl::StatusOr<std::span<const float>> logits = state.executor->Execute(state.batch);
  if (!logits.ok()) {
    state.FailAll(logits.status());
    return state.fault;
  }
  LONGSPAN_CHECK(static_cast<int64_t>(logits->size()) ==
                 state.batch.NumLogitRows() * state.options.vocab_size);
  state.AnnounceReady();
  state.SampleTokens(*logits);
  state.token_pace = state.pacer.Release(state.clock.Now());
  state.in_step = true;
  state.Deliver();
  state.in_step = false;
  state.EraseFinished();
  // Listeners are part of the gap between two tokens.
  if (active) state.Measure(ToSeconds(state.clock.Now() - begin));
  return absl::OkStatus();
}

const BlockManager& Engine::blocks() const { return *state_->blocks; }
int64_t Engine::steps() const { return state_->totals.steps; }
TokenPace Engine::token_pace() const { return state_->token_pace; }
const RequestLimits& Engine::limits() const { return state_->limits; }

bool Engine::State::IsActive() const {
  return std::any_of(running.begin(), running.end(), [](const auto& sequence) { return !sequence->idle; });
}

void Engine::State::Plan(Clock::Time now) {
  views.clear();
  active.clear();
  plan.clear();
  for (size_t i = 0; i < running.size(); ++i) {
    const std::unique_ptr<Sequence>& sequence = running[i];
    if (sequence->idle) continue;
    active.push_back(static_cast<int32_t>(i));
    views.push_back({.prefill_tokens = sequence->prefill_tokens,
                     .computed_tokens = sequence->computed_tokens,
                     .prompt_logits = sequence->prompt_logits,
                     .logits_from = sequence->next_logits,
                     .arrival = sequence->id,
                     .priority = sequence->priority});
  }
  if (views.empty()) return;
  Schedule(views, pacer.NextBudget(views, now), &plan);
  for (ScheduledChunk& chunk : plan) chunk.sequence = active[static_cast<size_t>(chunk.sequence)];
}

void Engine::State::BuildBatch() {
  batch.step = totals.steps++;
  batch.kv_orders = std::exchange(kv_orders, {});
  batch.sequences.resize(plan.size());
  work = {};
  usual_work = true;
  for (size_t i = 0; i < plan.size(); ++i) {
    const ScheduledChunk& chunk = plan[i];
    Sequence& sequence = *running[static_cast<size_t>(chunk.sequence)];
    const int64_t begin = sequence.computed_tokens;
    const int64_t end = begin + chunk.tokens;
    BatchSequence& part = batch.sequences[i];
    part.slot = sequence.slot;
    part.starts = !std::exchange(sequence.started, true);
    part.shift = sequence.blocks.shift();
    part.first_position = begin;
    part.tokens.assign(sequence.tokens.begin() + begin, sequence.tokens.begin() + end);
    part.logits = chunk.logits;
    // A sequence gives blocks back only in a step that it takes part in, so that the workers hear of it
    // before anybody else writes to the pages.
    blocks->Trim(sequence.blocks, begin);
    part.grants = blocks->Extend(sequence.blocks, end);
    part.first_live_blocks = sequence.blocks.first_live_blocks();
    if (begin >= sequence.prefill_tokens) {
      ++work.decodes;
      work.decode_context += begin;
    } else {
      work.prefill_tokens += chunk.tokens;
      work.prefill_prefix += chunk.tokens * begin;
      usual_work = usual_work && chunk.logits != LogitRows::kAll;
    }
    sequence.computed_tokens = end;
  }
}

// All tokens of the step side by side: each depends on its own sequence alone.
void Engine::State::SampleTokens(std::span<const float> logits) {
  const auto vocab = static_cast<size_t>(options.vocab_size);
  results.resize(plan.size());
  sampled.clear();
  for (size_t i = 0; i < plan.size(); ++i) {
    const Sequence& sequence = *running[static_cast<size_t>(plan[i].sequence)];
    const auto rows = static_cast<size_t>(batch.sequences[i].NumLogitRows());
    results[i].logits = logits.first(rows * vocab);
    logits = logits.subspan(rows * vocab);
    results[i].token.reset();
    if (rows > 0 && sequence.Computed() && sequence.max_tokens > 0) sampled.push_back(i);
  }
  executor->HostFor(static_cast<int64_t>(sampled.size()), [&](int64_t index, int thread) {
    const size_t i = sampled[static_cast<size_t>(index)];
    const Sequence& sequence = *running[static_cast<size_t>(plan[i].sequence)];
    SamplingThread& own = sampling_threads[static_cast<size_t>(thread)];
    std::span<const uint64_t> allowed;
    if (sequence.constraint != nullptr) {
      sequence.constraint->Allowed(sequence.max_tokens - sequence.output_tokens(), own.allowed);
      allowed = own.allowed;
    }
    results[i].token =
        own.sampler.Sample(results[i].logits.last(vocab), sequence.sampling, sequence.seed,
                           static_cast<int64_t>(sequence.tokens.size()), sequence.counts, allowed);
  });
}

void Engine::State::Deliver() {
  // Listeners may cancel any sequence, and submit: both leave `running` as it is.
  for (size_t i = 0; i < plan.size(); ++i) {
    Sequence& sequence = *running[static_cast<size_t>(plan[i].sequence)];
    if (results[i].logits.empty()) continue;
    DeliverLogits(sequence, results[i].logits);
    if (sequence.finished) continue;
    if (results[i].token) {
      DeliverToken(sequence, *results[i].token);
    } else if (sequence.Computed()) {
      Finish(sequence, FinishReason::kLength);  // logits are all that it asked for
    }
  }
}

void Engine::State::DeliverLogits(Sequence& sequence, std::span<const float> rows) {
  const auto vocab = static_cast<size_t>(options.vocab_size);
  const auto count = static_cast<int64_t>(rows.size() / vocab);
  for (int64_t row = 0; row < count && !sequence.finished; ++row) {
    sequence.listener->OnLogits(sequence.computed_tokens - count + row,
                                rows.subspan(static_cast<size_t>(row) * vocab, vocab));
  }
  sequence.next_logits = sequence.computed_tokens;
}

void Engine::State::DeliverToken(Sequence& sequence, const absl::StatusOr<int32_t>& token) {
  if (!token.ok()) {
    spdlog::error("request {} ends with an error: {}", sequence.id, std::string(token.status().message()));
    Finish(sequence, FinishReason::kError);
    return;
  }
  sequence.tokens.push_back(*token);
  ++totals.decode_tokens_total;
  sequence.AcceptOutput(*token);
  const bool goes_on = sequence.listener->OnToken(*token);
  if (sequence.finished) return;
  const bool is_eos = std::find(options.eos_token_ids.begin(), options.eos_token_ids.end(), *token) !=
                      options.eos_token_ids.end();
  if (!goes_on || (is_eos && (!sequence.ignore_eos || sequence.constraint != nullptr))) {
    Finish(sequence, FinishReason::kStop);
  } else if (sequence.output_tokens() == sequence.max_tokens) {
    Finish(sequence, FinishReason::kLength);
  } else if (sequence.sends_to) {
    sequence.idle = true;  // until nobody needs its KV
  }
}

void Engine::State::EraseFinished() {
  std::erase_if(running, [](const std::unique_ptr<Sequence>& sequence) { return sequence->finished; });
}

void Engine::State::Measure(double seconds) {
  if (seconds <= 0) return;  // the clock is too coarse to tell
  const bool decodes = work.decodes > 0, prefills = work.prefill_tokens > 0;
  if (decodes && usual_work) pacer.Observe(work, seconds);
  double prefill_s = prefills ? seconds : 0;
  if (decodes && prefills) {
    const double added = pacer.model().PrefillSeconds(work);
    const double alone = pacer.model().DecodeSeconds(work);
    prefill_s = added + alone > 0 ? seconds * added / (added + alone) : 0;
  }
  totals.prefill_tokens_total += work.prefill_tokens;
  totals.prefill_seconds_total += prefill_s;
  totals.decode_seconds_total += seconds - prefill_s;
  if (prefills) prefill_rate.Add(static_cast<double>(work.prefill_tokens), seconds);
  if (decodes) decode_rate.Add(1, seconds);
}

}  // namespace longspan
