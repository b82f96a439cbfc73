#include "launcher/model_options.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/cpu/cpu_backend.h"
#include "kvstore/kv_format.h"
#include "launcher/exit_status.h"
#include "launcher/option_parsers.h"

namespace longspan {
namespace {

constexpr int64_t kMaxRanks = 4096;
constexpr int64_t kMaxChunkTokens = int64_t{1} << 20;
constexpr int64_t kMaxThreads = 1024;
constexpr int64_t kMaxTokens = std::numeric_limits<int64_t>::max();

absl::StatusOr<DType> KvDTypeOf(std::string_view text) {
  std::vector<std::string> names;
  for (const DType dtype : {DType::kF32, DType::kBF16}) names.emplace_back(KvDTypeName(dtype));
  if (std::find(names.begin(), names.end(), text) == names.end()) return NotOneOf(text, names);
  return ParseKvDType(text);
}

void AddLayoutOptions(CLI::App& app, ModelOptions* options) {
  const std::vector<CLI::Option*> added = {
      AddOption(app, "--tp", "T",
                "ranks that split the heads; T·K is the number of ranks (as many as the model allows)",
                Into(&options->tp, WholeNumber(1, kMaxRanks))),
      AddOption(app, "--kvp", "K", "ranks that split each sequence's KV (the rest)",
                Into(&options->kvp, WholeNumber(1, kMaxRanks))),
      AddOption(app, "--threads", "N",
                "threads of one rank (the cores that it is bound to, shared with other ranks)",
                Into(&options->threads, WholeNumber(1, kMaxThreads))),
      AddOption(app, "--device", "KIND", "auto, cpu or cuda (auto)",
                Into(&options->device, OneOf<DeviceChoice>({{"auto", DeviceChoice::kAuto},
                                                            {"cpu", DeviceChoice::kCpu},
                                                            {"cuda", DeviceChoice::kCuda}}))),
      AddOption(app, "--isa", "NAME",
                "instruction set: auto, avx512, avx2 or portable (auto: the best all ranks have)",
                Into(&options->isa, OneOf<Isa>({{"auto", Isa::kAuto},
                                                {"avx512", Isa::kAvx512},
                                                {"avx2", Isa::kAvx2},
                                                {"portable", Isa::kPortable}}))),
  };
  SetTitle(added, "Ranks and processors");
}

void AddMemoryOptions(CLI::App& app, ModelOptions* options) {
  const std::vector<CLI::Option*> added = {
      AddOption(app, "--block-size", "N", "tokens of a KV block: 16, 32, 64, 128 or 256 (64)",
                Into(&options->block_size,
                     OneOf<int64_t>({{"16", 16}, {"32", 32}, {"64", 64}, {"128", 128}, {"256", 256}}))),
      AddOption(app, "--kv-dtype", "TYPE", "how keys and values are stored: f32 or bf16 (bf16)",
                Into<DType, DType>(&options->kv_dtype, KvDTypeOf)),
      AddOption(app, "--kv-bytes", "SIZE",
                "KV memory of one rank (60 % of what is free after loading, shared)",
                Into(&options->kv_bytes, Size())),
      AddOption(app, "--max-context", "N",
                "tokens of prompt and output together at most (the model's context)",
                Into(&options->max_context, WholeNumber(1, kMaxTokens))),
  };
  SetTitle(added, "Memory");
}

void AddComputeOptions(CLI::App& app, ModelOptions* options) {
  const std::vector<CLI::Option*> added = {
      AddOption(
          app, "--activation-dtype", "TYPE",
          "activations that meet weights: auto, bf16 or f32 (auto: int8 with quantised weights, else f32; "
          "f32 is exact)",
          Into(&options->activation, OneOf<ActivationDType>({{"auto", ActivationDType::kAuto},
                                                             {"bf16", ActivationDType::kBF16},
                                                             {"f32", ActivationDType::kF32}}))),
      AddOption(app, "--chunk-tokens", "N", "prompt tokens of one step at most (512)",
                Into(&options->chunk_tokens, WholeNumber(1, kMaxChunkTokens))),
      AddOption(app, "--default-max-tokens", "N",
                "output tokens of a request that does not say, within the context",
                Into(&options->default_max_tokens, WholeNumber(1, kMaxTokens))),
      AddOption(app, "--rank-invariant", "on|off",
                "same bits on any ranks, batch and chunk; always on for CPUs (on)",
                Into(&options->rank_invariant, OnOff())),
  };
  SetTitle(added, "Computation");
}

std::string Describe(const std::vector<RankGrid>& grids) {
  return absl::StrJoin(grids, ", ", [](std::string* out, const RankGrid& grid) {
    absl::StrAppend(out, "--tp ", grid.tp, " --kvp ", grid.kvp);
  });
}

}  // namespace

CLI::Option* AddModelPath(CLI::App& app, std::string* model) {
  return AddOption(app, "--model", "PATH", "GGUF file or Hugging Face folder (required)",
                   Into(model, NonEmptyText()));
}

void AddLogLevel(CLI::App& app, LogLevel* level) {
  AddOption(app, "--log-level", "LEVEL",
            "debug, info, warning or error (info); prompts and answers are never logged",
            Into(level, OneOf<LogLevel>({{"debug", LogLevel::kDebug},
                                         {"info", LogLevel::kInfo},
                                         {"warning", LogLevel::kWarning},
                                         {"error", LogLevel::kError}})));
}

void AddLogFormat(CLI::App& app, LogFormat* format) {
  AddOption(app, "--log-format", "FORMAT", "text, or json: an object a line (text)",
            Into(format, OneOf<LogFormat>({{"text", LogFormat::kText}, {"json", LogFormat::kJson}})));
}

void AddModelOptions(CLI::App& app, ModelOptions* options) {
  AddModelPath(app, &options->model);
  AddLayoutOptions(app, options);
  AddMemoryOptions(app, options);
  AddComputeOptions(app, options);
  AddLogLevel(app, &options->log_level);
}

absl::Status CheckModelOptions(const ModelOptions& options) {
  if (options.model.empty())
    return UsageError("--model PATH is missing: a GGUF file or a Hugging Face folder");
  if (!options.rank_invariant) {
    return UsageError(
        "--rank-invariant off: results on CPUs never depend on the ranks; leave the option out");
  }
  if (options.device == DeviceChoice::kCuda) {
    return absl::FailedPreconditionError("--device cuda: this build has no CUDA backend; use --device cpu");
  }
  if (options.isa != Isa::kAuto && !IsaSupported(options.isa)) {
    return absl::FailedPreconditionError(absl::StrCat("--isa ", std::string(Name(options.isa)),
                                                      ": this processor does not have it; use --isa auto"));
  }
  return absl::OkStatus();
}

absl::StatusOr<RankGrid> ChooseGrid(const ModelOptions& options, const ModelConfig& config, int ranks) {
  const AttentionShape shape{config.num_heads, config.num_kv_heads, config.head_dim};
  if (!options.tp && !options.kvp) return DefaultGrid(shape, ranks);

  const std::vector<RankGrid> valid = ValidGrids(shape, ranks);
  for (const RankGrid& grid : valid) {
    if (options.tp.value_or(grid.tp) == grid.tp && options.kvp.value_or(grid.kvp) == grid.kvp) return grid;
  }
  std::string asked;
  if (options.tp) absl::StrAppend(&asked, "--tp ", *options.tp, " ");
  if (options.kvp) absl::StrAppend(&asked, "--kvp ", *options.kvp, " ");
  return UsageError(absl::StrCat(asked, "cannot be had with ", ranks, ranks == 1 ? " rank" : " ranks",
                                 " and ", config.num_kv_heads, " KV heads; valid here: ", Describe(valid)));
}

}  // namespace longspan
