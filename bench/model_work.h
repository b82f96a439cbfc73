// What a step of a model must read and compute at least, on all ranks together. Pure functions.
//
// Products count the matrices of the layers for every token and the output head for the rows whose logits are
// wanted; attention counts 4 · heads · head size for each pair of a query and a key that it sees. Norms,
// rotary embedding and activations are left out.
#pragma once

#include <cstdint>
#include <vector>

#include "bench/measurement.h"
#include "runtime/model/model_source.h"

namespace longspan::bench {

class ModelWork {
 public:
  // KV in bf16.
  explicit ModelWork(const ModelSource& source);

  // Of `rows` tokens of one sequence that begin at `first_position`, and `logit_rows` rows of logits.
  std::vector<Arithmetic> ArithmeticOf(int64_t first_position, int64_t rows, int64_t logit_rows) const;
  // Bytes of KV that a token at this position sees.
  double KvBytes(int64_t position) const;

 private:
  const ModelConfig config_;
  // Operations of products, by kind of weight.
  struct Products {
    DType example;  // a format of the kind: which roof bounds it
    double per_token = 0, per_logit_row = 0;
  };
  std::vector<Products> products_;
};

}  // namespace longspan::bench
