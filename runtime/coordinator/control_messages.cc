#include "runtime/coordinator/control_messages.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"

namespace longspan {
namespace {

// Nobody has a use for longer ones, and sums of such fit.
constexpr int64_t kMostNanoseconds = int64_t{1} << 50;

template <typename Values>
auto ToVector(const Values& values) {
  return std::vector<typename Values::value_type>(values.begin(), values.end());
}
template <typename From, typename To>
void Append(const From& from, To* to) {
  to->Add(from.begin(), from.end());
}
// Of a build that knows more or fewer reasons, what both know.
template <typename Values>
PieceRejectionCounts CountsOf(const Values& values) {
  PieceRejectionCounts counts = {};
  std::copy_n(values.begin(), std::min<size_t>(counts.size(), static_cast<size_t>(values.size())),
              counts.begin());
  return counts;
}

}  // namespace

control::Register ToMessage(const GroupDescription& description) {
  control::Register message;
  message.set_name(description.name);
  message.set_role(static_cast<control::Role>(description.role));
  control::Identity& identity = *message.mutable_identity();
  identity.set_protocol(description.identity.protocol);
  identity.set_model(description.identity.model);
  identity.set_tokenizer(description.identity.tokenizer);
  identity.set_numerics(description.identity.numerics);
  message.set_build(description.build);
  message.set_rank_invariant(description.rank_invariant);
  Append(description.transport_addresses, message.mutable_transport_addresses());
  message.set_tp(description.tp);
  message.set_kvp(description.geometry.kvp);
  for (const std::string& host : description.hosts) message.add_hosts(host);
  Append(description.page_bytes, message.mutable_page_bytes());
  message.set_block_size(description.geometry.block_size);
  for (const KvGroupGeometry& group : description.geometry.groups) {
    control::LayerGroup& part = *message.add_layer_groups();
    part.set_window(group.window);
    part.set_pages_per_block(group.pages_per_block);
  }
  Append(description.geometry.pages_per_rank, message.mutable_pages());
  message.set_max_sequences(description.max_sequences);
  message.set_max_context(description.max_context);
  message.set_chunk_tokens(description.chunk_tokens);
  message.set_prompt_logits_chunk(description.prompt_logits_chunk);
  return message;
}

absl::StatusOr<GroupDescription> FromMessage(const control::Register& message) {
  const auto invalid = [](const char* what, int64_t value) {
    return absl::InvalidArgumentError(absl::StrCat("a group registers with ", what, " ", value));
  };
  GroupDescription description;
  description.name = message.name();
  if (!control::Role_IsValid(message.role())) return invalid("role", message.role());
  description.role = static_cast<GroupRole>(message.role());
  description.identity = {.protocol = message.identity().protocol(),
                          .model = message.identity().model(),
                          .tokenizer = message.identity().tokenizer(),
                          .numerics = message.identity().numerics()};
  description.build = message.build();
  description.rank_invariant = message.rank_invariant();
  description.tp = message.tp();
  description.hosts = ToVector(message.hosts());
  description.page_bytes = ToVector(message.page_bytes());
  KvGeometry& geometry = description.geometry;
  geometry.block_size = message.block_size();
  geometry.kvp = message.kvp();
  for (const control::LayerGroup& part : message.layer_groups()) {
    geometry.groups.push_back({part.window(), part.pages_per_block()});
  }
  geometry.pages_per_rank = ToVector(message.pages());
  LONGSPAN_RETURN_IF_ERROR(geometry.Validate());
  if (description.tp < 1) return invalid("a tp of", description.tp);
  const int64_t ranks = int64_t{description.tp} * geometry.kvp;
  if (std::ssize(description.hosts) != ranks)
    return invalid("a number of hosts of", std::ssize(description.hosts));
  if (std::ssize(description.page_bytes) != ranks) {
    return invalid("a number of page sizes of", std::ssize(description.page_bytes));
  }
  description.transport_addresses = ToVector(message.transport_addresses());
  if (std::ssize(description.transport_addresses) != ranks) {
    return invalid("a number of transport addresses of", std::ssize(description.transport_addresses));
  }
  description.max_sequences = message.max_sequences();
  description.max_context = message.max_context();
  description.chunk_tokens = message.chunk_tokens();
  description.prompt_logits_chunk = message.prompt_logits_chunk();
  if (description.max_sequences < 1) return invalid("a max_sequences of", description.max_sequences);
  if (description.max_context < 1) return invalid("a max_context of", description.max_context);
  if (description.chunk_tokens < 1) return invalid("a chunk_tokens of", description.chunk_tokens);
  if (description.prompt_logits_chunk < 1)
    return invalid("a prompt_logits_chunk of", description.prompt_logits_chunk);
  return description;
}

control::Status ToMessage(const GroupStatus& status) {
  const EngineSnapshot& engine = status.engine;
  control::Status message;
  message.set_steps(engine.steps);
  message.set_prefill_tokens_total(engine.prefill_tokens_total);
  message.set_decode_tokens_total(engine.decode_tokens_total);
  message.set_prefill_seconds_total(engine.prefill_seconds_total);
  message.set_decode_seconds_total(engine.decode_seconds_total);
  message.set_recomputed_tokens_total(engine.recomputed_tokens_total);
  message.set_handoffs_total(engine.handoffs_total);
  message.set_handoffs_given_up_total(engine.handoffs_given_up_total);
  message.set_handoff_useful_bytes(engine.handoff_useful_bytes);
  message.set_handoff_moved_bytes(engine.handoff_moved_bytes);
  Append(engine.handoff_refused_pieces, message.mutable_handoff_refused_pieces());
  message.set_prefill_tokens_per_s(engine.prefill_tokens_per_s);
  message.set_decode_step_s(engine.decode_step_s);
  for (const SequenceSnapshot& sequence : engine.sequences) {
    control::Sequence& part = *message.add_sequences();
    part.set_run(sequence.id);
    part.set_priority(sequence.priority);
    part.set_decoding(sequence.decoding);
    part.set_moving(sequence.moving);
    part.set_prompt_tokens(sequence.prompt_tokens);
    part.set_computed_tokens(sequence.computed_tokens);
    part.set_output_tokens(sequence.output_tokens);
    part.set_max_tokens(sequence.max_tokens);
    Append(sequence.pages_in_use, part.mutable_pages_in_use());
    Append(sequence.pages_reserved, part.mutable_pages_reserved());
  }
  for (const KvRankSnapshot& rank : engine.ranks) {
    control::KvRank& part = *message.add_ranks();
    part.set_capacity(rank.capacity);
    part.set_reserved(rank.reserved);
    part.set_in_use(rank.in_use);
    part.set_waste_ratio(rank.waste_ratio);
    for (const PageRun& run : rank.map) {
      part.add_owners(run.owner);
      part.add_lengths(run.pages);
    }
  }
  for (int op = 0; op < kNumCommOps; ++op) {
    const auto i = static_cast<size_t>(op);
    control::CommAmount& part = *message.add_comm();
    part.set_op(op);
    part.set_bytes(status.comm.bytes[i]);
    part.set_operations(status.comm.operations[i]);
    part.set_seconds(status.comm.seconds[i]);
  }
  return message;
}

absl::StatusOr<GroupStatus> FromMessage(const control::Status& message, int kvp) {
  const auto invalid = [kvp](const char* what) {
    return absl::InvalidArgumentError(
        absl::StrCat("a group of ", kvp, " kvp ranks tells of ", what, " of another number"));
  };
  GroupStatus status;
  EngineSnapshot& engine = status.engine;
  engine.steps = message.steps();
  engine.prefill_tokens_total = message.prefill_tokens_total();
  engine.decode_tokens_total = message.decode_tokens_total();
  engine.recomputed_tokens_total = message.recomputed_tokens_total();
  engine.handoffs_total = message.handoffs_total();
  engine.handoffs_given_up_total = message.handoffs_given_up_total();
  engine.handoff_useful_bytes = message.handoff_useful_bytes();
  engine.handoff_moved_bytes = message.handoff_moved_bytes();
  engine.handoff_refused_pieces = CountsOf(message.handoff_refused_pieces());
  engine.prefill_seconds_total = message.prefill_seconds_total();
  engine.decode_seconds_total = message.decode_seconds_total();
  engine.prefill_tokens_per_s = message.prefill_tokens_per_s();
  engine.decode_step_s = message.decode_step_s();
  for (const control::Sequence& part : message.sequences()) {
    SequenceSnapshot& sequence = engine.sequences.emplace_back();
    sequence.id = part.run();
    sequence.priority = part.priority();
    sequence.decoding = part.decoding();
    sequence.moving = part.moving();
    sequence.prompt_tokens = part.prompt_tokens();
    sequence.computed_tokens = part.computed_tokens();
    sequence.output_tokens = part.output_tokens();
    sequence.max_tokens = part.max_tokens();
    sequence.pages_in_use = ToVector(part.pages_in_use());
    sequence.pages_reserved = ToVector(part.pages_reserved());
    if (std::ssize(sequence.pages_in_use) != kvp || std::ssize(sequence.pages_reserved) != kvp) {
      return invalid("a request's pages");
    }
    ++(sequence.decoding ? engine.decoding : engine.prefilling);
  }
  if (message.ranks_size() != kvp) return invalid("ranks");
  for (const control::KvRank& part : message.ranks()) {
    KvRankSnapshot& rank = engine.ranks.emplace_back();
    rank.capacity = part.capacity();
    rank.reserved = part.reserved();
    rank.in_use = part.in_use();
    rank.waste_ratio = part.waste_ratio();
    if (part.owners_size() != part.lengths_size()) return invalid("pages");
    for (int i = 0; i < part.owners_size(); ++i) rank.map.push_back({part.owners(i), part.lengths(i)});
  }
  for (const control::CommAmount& part : message.comm()) {
    if (part.op() < 0 || part.op() >= kNumCommOps) continue;  // of a later build
    const auto i = static_cast<size_t>(part.op());
    status.comm.bytes[i] = part.bytes();
    status.comm.operations[i] = part.operations();
    status.comm.seconds[i] = part.seconds();
  }
  return status;
}

namespace {

control::KvPeer ToMessage(const KvPeer& peer) {
  control::KvPeer message;
  message.set_token(peer.handoff.token.data(), peer.handoff.token.size());
  message.set_epoch(peer.handoff.epoch);
  message.set_tp(peer.grid.tp);
  message.set_kvp(peer.grid.kvp);
  message.set_shift(peer.shift);
  Append(peer.addresses, message.mutable_addresses());
  return message;
}

// The engine refuses what no peer can have.
KvPeer FromMessage(const control::KvPeer& message) {
  KvPeer peer;
  std::memcpy(peer.handoff.token.data(), message.token().data(),
              std::min(peer.handoff.token.size(), message.token().size()));
  peer.handoff.epoch = message.epoch();
  peer.grid = {message.tp(), message.kvp()};
  peer.shift = message.shift();
  peer.addresses = ToVector(message.addresses());
  return peer;
}

}  // namespace

control::KvArrived ToMessage(RunId run, const KvArrival& arrival) {
  control::KvArrived message;
  message.set_run(run);
  message.set_complete(arrival.complete);
  message.set_useful_bytes(arrival.useful_bytes);
  message.set_moved_bytes(arrival.moved_bytes);
  Append(arrival.refused_pieces, message.mutable_refused_pieces());
  message.set_seconds(arrival.seconds);
  message.set_exposed_seconds(arrival.exposed_seconds);
  return message;
}

KvArrival FromMessage(const control::KvArrived& message) {
  return {.complete = message.complete(),
          .useful_bytes = message.useful_bytes(),
          .moved_bytes = message.moved_bytes(),
          .refused_pieces = CountsOf(message.refused_pieces()),
          .seconds = message.seconds(),
          .exposed_seconds = message.exposed_seconds()};
}

control::Start ToMessage(RunId run, const Request& request) {
  control::Start message;
  message.set_run(run);
  Append(request.prompt, message.mutable_prompt());
  Append(request.generated, message.mutable_generated());
  message.set_max_tokens(*request.max_tokens);
  const SamplingParams& params = request.sampling;
  control::Sampling& sampling = *message.mutable_sampling();
  sampling.set_temperature(params.temperature);
  sampling.set_top_k(params.top_k);
  sampling.set_top_p(params.top_p);
  sampling.set_min_p(params.min_p);
  sampling.set_repetition_penalty(params.repetition_penalty);
  sampling.set_presence_penalty(params.presence_penalty);
  sampling.set_frequency_penalty(params.frequency_penalty);
  for (const auto& [token, bias] : params.logit_bias) {
    sampling.add_bias_tokens(token);
    sampling.add_biases(bias);
  }
  sampling.set_seed(*params.seed);
  message.set_ignore_eos(request.ignore_eos);
  message.set_prompt_logits(request.prompt_logits);
  message.set_first_logits(request.first_logits);
  if (request.logprobs) message.set_logprobs(*request.logprobs);
  message.set_grammar(request.grammar);
  message.set_shift(*request.shift);
  if (request.receives_from) *message.mutable_receives_from() = ToMessage(*request.receives_from);
  if (request.sends_to) *message.mutable_sends_to() = ToMessage(*request.sends_to);
  return message;
}

Request FromMessage(const control::Start& message) {
  Request request;
  request.prompt = ToVector(message.prompt());
  request.generated = ToVector(message.generated());
  request.max_tokens = message.max_tokens();
  const control::Sampling& sampling = message.sampling();
  SamplingParams& params = request.sampling;
  params.temperature = sampling.temperature();
  params.top_k = sampling.top_k();
  params.top_p = sampling.top_p();
  params.min_p = sampling.min_p();
  params.repetition_penalty = sampling.repetition_penalty();
  params.presence_penalty = sampling.presence_penalty();
  params.frequency_penalty = sampling.frequency_penalty();
  for (int i = 0; i < std::min(sampling.bias_tokens_size(), sampling.biases_size()); ++i) {
    params.logit_bias.emplace_back(sampling.bias_tokens(i), sampling.biases(i));
  }
  params.seed = sampling.seed();
  request.ignore_eos = message.ignore_eos();
  request.prompt_logits = message.prompt_logits();
  request.first_logits = message.first_logits();
  if (message.has_logprobs()) request.logprobs = message.logprobs();
  request.grammar = message.grammar();
  request.shift = message.shift();
  if (message.has_receives_from()) request.receives_from = FromMessage(message.receives_from());
  if (message.has_sends_to()) request.sends_to = FromMessage(message.sends_to());
  return request;
}

control::PositionLogprobs ToMessage(const PositionLogprobs& logprobs) {
  control::PositionLogprobs message;
  const auto copy = [](const TokenLogprob& from, control::TokenLogprob* to) {
    to->set_token(from.token);
    to->set_logprob(from.logprob);
  };
  copy(logprobs.chosen, message.mutable_chosen());
  for (const TokenLogprob& token : logprobs.top) copy(token, message.add_top());
  return message;
}

PositionLogprobs FromMessage(const control::PositionLogprobs& message) {
  PositionLogprobs logprobs;
  logprobs.chosen = {message.chosen().token(), message.chosen().logprob()};
  for (const control::TokenLogprob& token : message.top())
    logprobs.top.push_back({token.token(), token.logprob()});
  return logprobs;
}

control::Token ToMessage(RunId run, const GeneratedToken& token) {
  control::Token message;
  message.set_run(run);
  message.set_id(token.id);
  message.set_gap_ns(std::chrono::nanoseconds(token.pace.gap).count());
  message.set_most_held_ns(std::chrono::nanoseconds(token.pace.most_held).count());
  if (token.logprobs) *message.mutable_logprobs() = ToMessage(*token.logprobs);
  return message;
}

GeneratedToken FromMessage(const control::Token& message) {
  const auto duration = [](int64_t ns) {
    return Clock::Duration(std::chrono::nanoseconds(std::clamp<int64_t>(ns, 0, kMostNanoseconds)));
  };
  GeneratedToken token;
  token.id = message.id();
  token.pace = {duration(message.gap_ns()), duration(message.most_held_ns())};
  if (message.has_logprobs()) token.logprobs = FromMessage(message.logprobs());
  return token;
}

control::End EndMessage(RunId run, FinishReason reason) {
  control::End message;
  message.set_run(run);
  message.set_reason(static_cast<control::FinishReason>(reason));
  return message;
}

control::End EndMessage(RunId run, const absl::Status& error) {
  control::End message;
  message.set_run(run);
  message.set_error_code(static_cast<int32_t>(error.code()));
  message.set_error(std::string(error.message()));
  return message;
}

void TellEnd(const control::End& message, ResponseListener& listener) {
  if (message.error_code() != 0) {
    listener.OnError(absl::Status(static_cast<absl::StatusCode>(message.error_code()), message.error()));
  } else if (control::FinishReason_IsValid(message.reason())) {
    listener.OnFinish(static_cast<FinishReason>(message.reason()));
  } else {
    listener.OnError(absl::InternalError(absl::StrCat("the group ends it for reason ", message.reason())));
  }
}

}  // namespace longspan
