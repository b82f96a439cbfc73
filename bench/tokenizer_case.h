// What model_bench times of the model's tokenizer.
#pragma once

#include <string>

#include "bench/measurement.h"
#include "runtime/model/model_source.h"

namespace longspan::bench {

// Encoding of the text in a file, whole and in one thread; nothing bounds it that could be measured. Says why
// when the model has no tokenizer or the file cannot be read.
void RunTokenizerCase(const ModelSource& source, const std::string& text_path, Measurement& measurement);

}  // namespace longspan::bench
