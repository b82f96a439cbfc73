// A GGUF file that anybody may have written: its metadata, its vocabulary and, where it is a whole model, its
// weights.
#include "runtime/model/model_source.h"
#include "runtime/tokenizer/tokenizer.h"
#include "tests/fuzz/memory_file.h"
#include "tests/fuzz/use_tokenizer.h"

namespace {

void TouchWeights(const longspan::ModelSource& source) {
  [[maybe_unused]] volatile std::byte sink{};
  for (const longspan::WeightView& weight : source.AllWeights()) {
    sink = weight.entry->data[0];
    sink = weight.entry->data[weight.entry->bytes - 1];
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const longspan::MemoryFile input(data, size);
  const auto files = longspan::ModelFiles::Open(input.path());
  if (!files.ok()) return 0;
  longspan::UseTokenizer(longspan::Tokenizer::Create(*files));
  const auto source = longspan::ModelSource::Open(input.path());
  if (source.ok()) TouchWeights(**source);
  return 0;
}
