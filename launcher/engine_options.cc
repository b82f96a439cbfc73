#include "launcher/engine_options.h"

#include <random>

namespace longspan {
namespace {

uint64_t AnySeed() {
  std::random_device random;
  return uint64_t{random()} << 32 | random();
}

}  // namespace

std::vector<int32_t> EosTokenIds(const ModelConfig& config, const Tokenizer* tokenizer) {
  std::vector<int32_t> ids = config.eos_token_ids;
  if (tokenizer != nullptr) {
    for (const int32_t id : tokenizer->eos_ids()) ids.push_back(id);
  }
  return ids;
}

EngineOptions EngineOptionsFor(const ModelConfig& config, const Tokenizer* tokenizer, const Group& group,
                               const ModelOptions& options) {
  EngineOptions engine;
  engine.geometry = group.geometry();
  engine.chunk_tokens = options.chunk_tokens;
  engine.max_sequences = static_cast<int>(group.options().max_sequences);
  engine.max_context = group.options().max_context;
  engine.default_max_tokens = options.default_max_tokens.value_or(engine.default_max_tokens);
  engine.vocab_size = config.vocab_size;
  engine.max_logit_rows = group.options().max_logit_rows;
  engine.eos_token_ids = EosTokenIds(config, tokenizer);
  engine.seed = AnySeed();
  return engine;
}

RequestLimits LimitsBeforeLoading(const ModelConfig& config, const ModelOptions& options) {
  RequestLimits limits;
  limits.vocab_size = config.vocab_size;
  limits.max_context = options.max_context.value_or(config.max_context);
  limits.store_tokens = limits.max_context;
  limits.default_max_tokens = options.default_max_tokens.value_or(EngineOptions().default_max_tokens);
  return limits;
}

CoordinatorOptions CoordinatorOptionsFor(const ModelConfig& config, const ModelOptions& options) {
  CoordinatorOptions coordinator;
  coordinator.limits = LimitsBeforeLoading(config, options);
  coordinator.seed = AnySeed();
  return coordinator;
}

}  // namespace longspan
