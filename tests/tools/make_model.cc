// Writes a model with random weights: make_model --out F.gguf --family llama --format q8_0 …
#include <CLI/CLI.hpp>
#include <cstdio>
#include <map>
#include <string>

#include "tests/tools/random_model.h"

int main(int argc, char** argv) {
  longspan::RandomModelSpec spec;
  std::string out;
  CLI::App app("Writes a GGUF model with random weights and no tokenizer");
  app.option_defaults()->always_capture_default();
  app.add_option("--out", out, "file to write")->required();
  app.add_option("--family", spec.family, "model family")
      ->check(CLI::IsMember({"llama", "qwen2", "qwen3", "gemma2", "gemma3"}));
  app.add_option("--layers", spec.layers, "number of layers")->check(CLI::PositiveNumber);
  app.add_option("--hidden", spec.hidden, "hidden size")->check(CLI::PositiveNumber);
  app.add_option("--heads", spec.heads, "query heads")->check(CLI::PositiveNumber);
  app.add_option("--kv-heads", spec.kv_heads, "KV heads")->check(CLI::PositiveNumber);
  app.add_option("--head-dim", spec.head_dim, "head size")->check(CLI::PositiveNumber);
  app.add_option("--ffn", spec.ffn, "FFN size")->check(CLI::PositiveNumber);
  app.add_option("--vocab", spec.vocab, "vocabulary, tokens")->check(CLI::PositiveNumber);
  app.add_option("--context", spec.context, "longest context, tokens")->check(CLI::PositiveNumber);
  app.add_option("--window", spec.window, "gemma2, gemma3: window of sliding layers, tokens")
      ->check(CLI::PositiveNumber);
  app.add_option("--pattern", spec.pattern, "gemma2, gemma3: of so many layers the last is full")
      ->check(CLI::PositiveNumber);
  app.add_flag("--tied", spec.tied, "llama: logits use the embedding");
  app.add_option("--seed", spec.seed, "seed of all weights");
  const std::map<std::string, longspan::DType> formats = {
      {"f32", longspan::DType::kF32},   {"f16", longspan::DType::kF16},   {"bf16", longspan::DType::kBF16},
      {"q8_0", longspan::DType::kQ8_0}, {"q4_0", longspan::DType::kQ4_0}, {"q5_0", longspan::DType::kQ5_0},
      {"q4_k", longspan::DType::kQ4_K}, {"q5_k", longspan::DType::kQ5_K}, {"q6_k", longspan::DType::kQ6_K}};
  std::string format = "f32";
  app.add_option("--format", format, "format of matrices")->check(CLI::IsMember(&formats));
  CLI11_PARSE(app, argc, argv);
  spec.format = formats.at(format);

  const absl::Status status = longspan::WriteRandomModel(spec, out);
  if (!status.ok()) std::fprintf(stderr, "make_model: %s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
