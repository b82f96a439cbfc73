#include "tests/group/goldens.h"

#include <cstdio>
#include <cstdlib>

#include "runtime/model/npy.h"

namespace longspan::testing {
namespace {

NpyArray ReadOrDie(const std::string& path) {
  absl::StatusOr<NpyArray> array = ReadNpy(path);
  if (!array.ok()) {
    std::fprintf(stderr, "%s\n", array.status().ToString().c_str());
    std::abort();
  }
  return *std::move(array);
}

}  // namespace

std::vector<int32_t> Golden::Tokens() const {
  const absl::StatusOr<std::vector<int64_t>> ids = NpyIntegers(ReadOrDie(tokens_path), tokens_path);
  if (!ids.ok()) std::abort();
  return {ids->begin(), ids->end()};
}

std::vector<float> Golden::Logits() const {
  return std::get<std::vector<float>>(ReadOrDie(logits_path).values);
}

std::vector<Golden> AllGoldens() {
  const std::string root = LONGSPAN_GOLDENS_DIR;
  std::vector<Golden> goldens;
  for (const char* name : {"llama2-mha", "llama3-gqa", "llama3-bf16", "mistral-swa", "qwen2-bias",
                           "qwen3-qknorm", "gemma2-softcap", "gemma3-dual"}) {
    const std::string folder = root + "/" + name;
    goldens.push_back({name, folder, folder + "/tokens.npy", folder + "/logits.npy"});
  }
  const std::string folder = root + "/gguf-llama/";
  for (const char* format : {"f16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q4_k", "q5_k", "q6_k"}) {
    goldens.push_back({std::string("gguf-llama-") + format, folder + format + ".gguf", folder + "tokens.npy",
                       folder + format + ".logits.npy"});
  }
  return goldens;
}

Golden FindGolden(const std::string& name) {
  for (const Golden& golden : AllGoldens()) {
    if (golden.name == name) return golden;
  }
  std::fprintf(stderr, "no golden %s\n", name.c_str());
  std::abort();
}

}  // namespace longspan::testing
