#include "runtime/tokenizer/split_patterns.h"

namespace longspan {

const std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

namespace {

// Numbers are cut into groups of up to three digits.
constexpr std::string_view kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";

// Numbers are cut into digits.
constexpr std::string_view kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";

const SplitRule kRules[] = {
    {"gpt-2", kGpt2Pattern, false, false, false},     {"default", kGpt2Pattern, false, false, false},
    {"llama-bpe", kLlama3Pattern, false, true, true}, {"llama3", kLlama3Pattern, false, true, true},
    {"llama-v3", kLlama3Pattern, false, true, true},  {"qwen2", kQwen2Pattern, true, false, false},
};

}  // namespace

std::span<const SplitRule> SplitRules() { return kRules; }

const SplitRule* FindSplitRule(std::string_view name) {
  for (const SplitRule& rule : kRules) {
    if (rule.name == name) return &rule;
  }
  return nullptr;
}

}  // namespace longspan
