#include "launcher/commands/tokenize.h"

#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "launcher/exit_status.h"
#include "launcher/model_options.h"
#include "launcher/option_parsers.h"
#include "launcher/text_files.h"
#include "runtime/model/model_files.h"
#include "runtime/tokenizer/tokenizer.h"

namespace longspan {
namespace {

using nlohmann::json;

// A text to encode, or the JSON array of ids to decode, and where it is from.
struct Input {
  std::string text;
  std::string origin;
};

absl::StatusOr<std::vector<Input>> SplitJsonFile(const std::string& text, const std::string& path,
                                                 bool decode) {
  const json array = json::parse(text, nullptr, /*allow_exceptions=*/false);
  const char* const what = decode ? "a JSON array of arrays of token ids" : "a JSON array of texts";
  if (!array.is_array()) return absl::InvalidArgumentError(absl::StrCat(path, ": is not ", what));
  std::vector<Input> inputs;
  for (const json& item : array) {
    const std::string origin = absl::StrCat(path, ": item ", inputs.size() + 1);
    if (decode ? !item.is_array() : !item.is_string()) {
      return absl::InvalidArgumentError(absl::StrCat(origin, ": the file is not ", what));
    }
    inputs.push_back({decode ? item.dump() : item.get<std::string>(), origin});
  }
  return inputs;
}

class TokenizeCommand final : public Command {
 public:
  void AddOptions(CLI::App& app) override {
    AddModelPath(app, &model_);
    CLI::Option* text = AddOption(app, "--text", "T", "one text; with --decode one JSON array of ids",
                                  Into(&text_, AnyText()));
    CLI::Option* file = AddOption(app, "--file", "F", "one a line, or named .json, a JSON array of them",
                                  Into(&file_, NonEmptyText()));
    text->excludes(file);
    AddFlag(app, "--no-special", "adds no token that begins or ends a text", &no_special_);
    AddFlag(app, "--decode", "the other way: arrays of ids in, JSON strings out", &decode_);
  }

  absl::Status Check() override {
    if (model_.empty()) return UsageError("--model PATH is missing: a GGUF file or a Hugging Face folder");
    if (!text_ && !file_) return UsageError("nothing to do: give --text T or --file F");
    return absl::OkStatus();
  }

  absl::StatusOr<int> Run(const RankEnv& env) override {
    if (env.rank != 0) return 0;
    LONGSPAN_ASSIGN_OR_RETURN(const std::vector<Input> inputs, ReadInputs());
    LONGSPAN_ASSIGN_OR_RETURN(const ModelFiles files, ModelFiles::Open(model_));
    LONGSPAN_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, Tokenizer::Create(files));
    for (const Input& input : inputs) {
      LONGSPAN_ASSIGN_OR_RETURN(const std::string line,
                                decode_ ? Decode(*tokenizer, input) : Encode(*tokenizer, input));
      LONGSPAN_RETURN_IF_ERROR(WriteOutput(line + "\n"));
    }
    return 0;
  }

 private:
  absl::StatusOr<std::vector<Input>> ReadInputs() const {
    if (text_) return std::vector<Input>{{*text_, "--text"}};
    LONGSPAN_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(*file_));
    if (file_->ends_with(".json")) return SplitJsonFile(text, *file_, decode_);
    std::vector<Input> inputs;
    for (const std::string_view line : SplitLines(text)) {
      inputs.push_back({std::string(line), absl::StrCat(*file_, ":", inputs.size() + 1)});
    }
    return inputs;
  }

  absl::StatusOr<std::string> Encode(const Tokenizer& tokenizer, const Input& input) const {
    const absl::StatusOr<std::vector<int32_t>> ids =
        tokenizer.Encode(input.text, EncodeOptions{.add_special = !no_special_});
    if (!ids.ok()) {
      return absl::Status(ids.status().code(),
                          absl::StrCat(input.origin, ": ", std::string(ids.status().message())));
    }
    return json(*ids).dump();
  }

  static absl::StatusOr<std::string> Decode(const Tokenizer& tokenizer, const Input& input) {
    LONGSPAN_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, ParseTokenIdArray(input.text, input.origin));
    for (const int32_t id : ids) {
      if (id >= tokenizer.vocab_size()) {
        return absl::InvalidArgumentError(absl::StrCat(input.origin, ": token ", id,
                                                       " is not in the vocabulary of ",
                                                       tokenizer.vocab_size(), " tokens"));
      }
    }
    return json(tokenizer.Decode(ids)).dump(-1, ' ', false, json::error_handler_t::replace);
  }

  std::string model_;
  std::optional<std::string> text_, file_;
  bool no_special_ = false;
  bool decode_ = false;
};

}  // namespace

std::unique_ptr<Command> NewTokenizeCommand() { return std::make_unique<TokenizeCommand>(); }

}  // namespace longspan
