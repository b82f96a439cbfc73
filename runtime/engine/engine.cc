#include "runtime/engine/engine.h"

#include <algorithm>
#include <deque>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/status_macros.h"
#include "runtime/engine/request_check.h"
#include "runtime/engine/sampler.h"
#include "runtime/engine/scheduler.h"
#include "runtime/engine/sequence.h"
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
  return absl::OkStatus();
}

}  // namespace

struct Engine::State {
  State(EngineOptions engine_options, Executor* step_executor, std::unique_ptr<BlockManager> block_manager)
      : options(std::move(engine_options)),
        executor(step_executor),
        blocks(std::move(block_manager)),
        limits(Limits(ChunkTokens(false))),
        prompt_logits_limits(Limits(ChunkTokens(true))),
        sampler(options.vocab_size),
        allowed_tokens(static_cast<size_t>(options.vocab_size + 63) / 64) {
    // Slot 0 ends on top.
    for (int slot = options.max_sequences - 1; slot >= 0; --slot) free_slots.push_back(slot);
  }

  int64_t ChunkTokens(bool prompt_logits) const {
    return prompt_logits ? std::min(options.chunk_tokens, options.max_logit_rows) : options.chunk_tokens;
  }
  // Larger chunks need more of a sliding window's blocks at a time, so what fits depends on them.
  RequestLimits Limits(int64_t chunk_tokens) const {
    return {.vocab_size = options.vocab_size,
            .max_context = options.max_context,
            .store_tokens = blocks->LargestContext(chunk_tokens, options.max_context),
            .default_max_tokens = options.default_max_tokens};
  }
  void AdmitWaiting();
  void Plan();
  void BuildBatch();
  void Deliver(std::span<const float> logits);
  void DeliverRows(Sequence& sequence, const ScheduledChunk& chunk, std::span<const float> rows);
  void Generate(Sequence& sequence, std::span<const float> logits);
  void Finish(Sequence& sequence, FinishReason reason);
  void FailAll(const absl::Status& fault);

  const EngineOptions options;
  Executor* const executor;
  const std::unique_ptr<BlockManager> blocks;
  const RequestLimits limits;
  const RequestLimits prompt_logits_limits;
  Sampler sampler;

  std::deque<std::unique_ptr<Sequence>> waiting;   // by arrival
  std::vector<std::unique_ptr<Sequence>> running;  // by arrival; finished ones leave at the end of the step
  std::vector<int> free_slots;                     // a stack
  // Of the step; kept, so that a step allocates nothing once such a step was seen.
  std::vector<SequenceView> views;
  SchedulePlan plan;
  StepBatch batch;
  std::vector<uint64_t> allowed_tokens;  // a bit for each token of the vocabulary
  RequestId next_id = 1;
  int64_t steps = 0;
  bool in_step = false;
  absl::Status fault;  // of the step that failed
};

absl::StatusOr<std::unique_ptr<Engine>> Engine::Create(EngineOptions options, Executor* executor) {
  LONGSPAN_RETURN_IF_ERROR(ValidateOptions(options));
  LONGSPAN_ASSIGN_OR_RETURN(auto blocks, BlockManager::Create(options.geometry));
  return std::unique_ptr<Engine>(
      new Engine(std::make_unique<State>(std::move(options), executor, std::move(blocks))));
}

Engine::Engine(std::unique_ptr<State> state) : state_(std::move(state)) {}
Engine::~Engine() = default;

absl::StatusOr<RequestId> Engine::Submit(Request request, RequestListener* listener) {
  State& state = *state_;
  const EngineOptions& options = state.options;
  LONGSPAN_RETURN_IF_ERROR(state.fault);
  const int64_t chunk_tokens = state.ChunkTokens(request.prompt_logits);
  const RequestLimits& limits = request.prompt_logits ? state.prompt_logits_limits : state.limits;
  LONGSPAN_ASSIGN_OR_RETURN(const int64_t max_tokens, CheckRequest(request, limits));
  if (state.waiting.size() >= static_cast<size_t>(options.max_waiting)) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the queue is full with ", state.waiting.size(), " requests: try again later"));
  }

  auto sequence = std::make_unique<Sequence>();
  sequence->id = state.next_id++;
  sequence->listener = listener;
  sequence->prompt_tokens = static_cast<int64_t>(request.prompt.size());
  sequence->tokens = std::move(request.prompt);
  sequence->max_tokens = max_tokens;
  sequence->chunk_tokens = chunk_tokens;
  sequence->seed = request.sampling.seed.value_or(DeriveSeed(options.seed, sequence->id));
  sequence->sampling = std::move(request.sampling);
  sequence->ignore_eos = request.ignore_eos;
  sequence->prompt_logits = request.prompt_logits;
  sequence->constraint = std::move(request.constraint);
  if (UsesTokenCounts(sequence->sampling)) {
    for (const int32_t token : sequence->tokens) sequence->counts.AddPrompt(token);
  }
  const RequestId id = sequence->id;
  state.waiting.push_back(std::move(sequence));
  return id;
}

void Engine::Cancel(RequestId id) {
  State& state = *state_;
  const auto has_id = [id](const std::unique_ptr<Sequence>& sequence) { return sequence->id == id; };
  if (const auto it = std::find_if(state.waiting.begin(), state.waiting.end(), has_id);
      it != state.waiting.end()) {
    const std::unique_ptr<Sequence> sequence = std::move(*it);
    state.waiting.erase(it);
    state.Finish(*sequence, FinishReason::kCancelled);
    return;
  }
  const auto it = std::find_if(state.running.begin(), state.running.end(), has_id);
  if (it == state.running.end() || (*it)->finished) return;
  if (state.in_step) {
    // The step still looks at it.
    state.Finish(**it, FinishReason::kCancelled);
    return;
  }
  const std::unique_ptr<Sequence> sequence = std::move(*it);
  state.running.erase(it);
  state.Finish(*sequence, FinishReason::kCancelled);
}

bool Engine::HasWork() const { return !state_->waiting.empty() || !state_->running.empty(); }

absl::Status Engine::Step() {
  State& state = *state_;
  LONGSPAN_CHECK(!state.in_step);
  LONGSPAN_RETURN_IF_ERROR(state.fault);
  state.AdmitWaiting();
  if (state.running.empty()) return absl::OkStatus();

  state.Plan();
  LONGSPAN_CHECK(!state.plan.empty());
  state.BuildBatch();
  const absl::StatusOr<std::span<const float>> logits = state.executor->Execute(state.batch);
  if (!logits.ok()) {
    state.FailAll(logits.status());
    return state.fault;
  }
  LONGSPAN_CHECK(static_cast<int64_t>(logits->size()) ==
                 state.batch.NumLogitRows() * state.options.vocab_size);
  state.in_step = true;
  state.Deliver(*logits);
  state.in_step = false;
  std::erase_if(state.running, [](const std::unique_ptr<Sequence>& sequence) { return sequence->finished; });
  return absl::OkStatus();
}

const BlockManager& Engine::blocks() const { return *state_->blocks; }
int64_t Engine::steps() const { return state_->steps; }

void Engine::State::AdmitWaiting() {
  while (!waiting.empty()) {
    Sequence& first = *waiting.front();
    const std::optional<int> shift =
        Admit(first.total_tokens(), first.chunk_tokens, *blocks, static_cast<int>(free_slots.size()));
    if (!shift) break;
    first.blocks = blocks->Reserve(first.total_tokens(), first.chunk_tokens, *shift);
    first.slot = free_slots.back();
    free_slots.pop_back();
    first.tokens.reserve(static_cast<size_t>(first.total_tokens()));
    running.push_back(std::move(waiting.front()));
    waiting.pop_front();
  }
  // Submit refuses what an empty store cannot hold.
  LONGSPAN_CHECK(waiting.empty() || !running.empty());
}

void Engine::State::Plan() {
  views.clear();
  for (const auto& sequence : running) {
    views.push_back({sequence->prompt_tokens, sequence->computed_tokens, sequence->prompt_logits});
  }
  Schedule(views, {options.chunk_tokens, options.max_logit_rows}, &plan);
}

void Engine::State::BuildBatch() {
  batch.step = steps++;
  batch.sequences.resize(plan.size());
  for (size_t i = 0; i < plan.size(); ++i) {
    const ScheduledChunk& chunk = plan[i];
    Sequence& sequence = *running[static_cast<size_t>(chunk.sequence)];
    const int64_t begin = sequence.computed_tokens;
    const int64_t end = begin + chunk.tokens;
    BatchSequence& part = batch.sequences[i];
    part.slot = sequence.slot;
    part.starts = begin == 0;
    part.shift = sequence.blocks.shift();
    part.first_position = begin;
    part.tokens.assign(sequence.tokens.begin() + begin, sequence.tokens.begin() + end);
    part.logits = chunk.logits;
    // A sequence gives blocks back only in a step that it takes part in, so that the workers hear of it
    // before anybody else writes to the pages.
    blocks->Trim(sequence.blocks, begin);
    part.grants = blocks->Extend(sequence.blocks, end);
    part.first_live_blocks = sequence.blocks.first_live_blocks();
    sequence.computed_tokens = end;
  }
}

void Engine::State::Deliver(std::span<const float> logits) {
  const auto vocab = static_cast<size_t>(options.vocab_size);
  // Listeners may cancel any sequence, and submit: both leave `running` as it is.
  for (const ScheduledChunk& chunk : plan) {
    if (chunk.logits == LogitRows::kNone) continue;
    const size_t rows = chunk.logits == LogitRows::kAll ? static_cast<size_t>(chunk.tokens) : 1;
    DeliverRows(*running[static_cast<size_t>(chunk.sequence)], chunk, logits.first(rows * vocab));
    logits = logits.subspan(rows * vocab);
  }
}

void Engine::State::DeliverRows(Sequence& sequence, const ScheduledChunk& chunk,
                                std::span<const float> rows) {
  const auto vocab = static_cast<size_t>(options.vocab_size);
  const auto count = static_cast<int64_t>(rows.size() / vocab);
  for (int64_t row = 0; row < count && !sequence.finished; ++row) {
    sequence.listener->OnLogits(sequence.computed_tokens - count + row,
                                rows.subspan(static_cast<size_t>(row) * vocab, vocab));
  }
  if (sequence.finished || sequence.computed_tokens < static_cast<int64_t>(sequence.tokens.size())) return;
  if (sequence.max_tokens == 0) {
    Finish(sequence, FinishReason::kLength);
  } else {
    Generate(sequence, rows.last(vocab));
  }
}

void Engine::State::Generate(Sequence& sequence, std::span<const float> logits) {
  const auto position = static_cast<int64_t>(sequence.tokens.size());
  std::span<uint64_t> allowed;
  if (sequence.constraint != nullptr) {
    allowed = allowed_tokens;
    sequence.constraint->Allowed(sequence.max_tokens - sequence.output_tokens(), allowed);
  }
  const absl::StatusOr<int32_t> token =
      sampler.Sample(logits, sequence.sampling, sequence.seed, position, sequence.counts, allowed);
  if (!token.ok()) {
    spdlog::error("request {} ends with an error: {}", sequence.id, std::string(token.status().message()));
    Finish(sequence, FinishReason::kError);
    return;
  }
  sequence.tokens.push_back(*token);
  if (sequence.constraint != nullptr) sequence.constraint->Accept(*token);
  if (UsesTokenCounts(sequence.sampling)) sequence.counts.AddOutput(*token);
  const bool goes_on = sequence.listener->OnToken(*token);
  if (sequence.finished) return;
  const bool is_eos = std::find(options.eos_token_ids.begin(), options.eos_token_ids.end(), *token) !=
                      options.eos_token_ids.end();
  if (!goes_on || (is_eos && (!sequence.ignore_eos || sequence.constraint != nullptr))) {
    Finish(sequence, FinishReason::kStop);
  } else if (sequence.output_tokens() == sequence.max_tokens) {
    Finish(sequence, FinishReason::kLength);
  }
}

void Engine::State::Finish(Sequence& sequence, FinishReason reason) {
  LONGSPAN_CHECK(!sequence.finished);
  sequence.finished = true;
  if (sequence.slot >= 0) {
    blocks->Free(sequence.blocks);
    free_slots.push_back(sequence.slot);
  }
  sequence.listener->OnFinish(reason);
}

void Engine::State::FailAll(const absl::Status& error) {
  fault = error;
  // Listeners may cancel; submitting is refused from here on.
  const auto fail = [this](auto& queue) {
    while (!queue.empty()) {
      const std::unique_ptr<Sequence> sequence = std::move(queue.front());
      queue.erase(queue.begin());
      Finish(*sequence, FinishReason::kError);
    }
  };
  fail(running);
  fail(waiting);
}

}  // namespace longspan
