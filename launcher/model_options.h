// The options that every command which runs a model has.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/dtype.h"
#include "kernels/numerics.h"
#include "kvstore/shard_map.h"
#include "launcher/cli_fwd.h"
#include "runtime/model/model_config.h"

namespace longspan {

enum class DeviceChoice { kAuto, kCpu, kCuda };
enum class LogLevel { kDebug, kInfo, kWarning, kError };
enum class LogFormat { kText, kJson };

struct ModelOptions {
  std::string model;  // path
  std::optional<int64_t> tp, kvp;
  int64_t block_size = 64;  // tokens
  DType kv_dtype = DType::kBF16;
  int64_t kv_bytes = 0;  // of one rank; 0 = a share of the free memory
  ActivationDType activation = ActivationDType::kAuto;
  int64_t chunk_tokens = 512;
  std::optional<int64_t> max_context;         // tokens
  std::optional<int64_t> threads;             // of one rank
  std::optional<int64_t> default_max_tokens;  // the command's own default unless given
  DeviceChoice device = DeviceChoice::kAuto;
  Isa isa = Isa::kAuto;
  bool rank_invariant = true;
  LogLevel log_level = LogLevel::kInfo;
  LogFormat log_format = LogFormat::kText;  // of serve
};

// Adds them, in groups of their own. `options` must outlive the parsing.
void AddModelOptions(CLI::App& app, ModelOptions* options);
CLI::Option* AddModelPath(CLI::App& app, std::string* model);
void AddLogLevel(CLI::App& app, LogLevel* level);
void AddLogFormat(CLI::App& app, LogFormat* format);

// What can be said before the model is opened: UsageError for a missing --model and for values that this
// build cannot follow, FailedPrecondition for a device or an instruction set that is not there.
absl::Status CheckModelOptions(const ModelOptions& options);

// The grid for this model: as asked for, or the default. UsageError with the valid pairs when --tp and --kvp
// do not make the number of ranks or the model's heads cannot be split so.
absl::StatusOr<RankGrid> ChooseGrid(const ModelOptions& options, const ModelConfig& config, int ranks);

}  // namespace longspan
