// Models with random weights, for tests and measurements that need a shape and not a trained model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "kernels/dtype.h"

namespace longspan {

struct RandomModelSpec {
  std::string family = "llama";  // or qwen2, qwen3, gemma2, gemma3
  int layers = 2;
  int64_t hidden = 256;
  int heads = 4;
  int kv_heads = 2;
  int head_dim = 64;
  int64_t ffn = 512;
  int64_t vocab = 1024;
  int64_t context = 4096;      // tokens
  DType format = DType::kF32;  // F32, F16, BF16, Q8_0, Q4_0, Q5_0, Q4_K, Q5_K or Q6_K
  int64_t window = 512;        // Gemma: of sliding layers, tokens
  int64_t pattern = 6;         // Gemma: of so many layers the last is full
  bool tied = false;           // logits use the embedding; Gemma's always do
  uint64_t seed = 1;           // the same specification writes the same bytes
};

// Writes a GGUF file that says it has no tokenizer ("no_vocab", as llama.cpp has it). The elements of a
// matrix have a standard deviation of about 1/sqrt(columns), those of norms lie near 1. A matrix whose
// columns the format's block does not divide is F16.
absl::Status WriteRandomModel(const RandomModelSpec& spec, const std::string& path);

// Rows of one matrix of such a model, as the file holds them; `out` is a whole number of blocks.
void FillRandomMatrix(DType dtype, int64_t columns, uint64_t seed, std::span<std::byte> out);

}  // namespace longspan
