#include "runtime/tokenizer/huggingface_tokenizer.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/model/field_reader.h"
#include "runtime/model/json_file.h"
#include "runtime/tokenizer/bpe_model.h"
#include "runtime/tokenizer/huggingface_steps.h"
#include "runtime/tokenizer/text_tokenizer.h"

namespace longspan {
namespace {

using Json = nlohmann::json;

// More tokens than any model has; keeps a damaged id from asking for memory without bounds.
constexpr int64_t kMaxTokens = 1 << 24;

absl::Status Damaged(const std::string& origin, const std::string& what) {
  return absl::DataLossError(absl::StrCat(origin, ": ", what, "; the file is damaged or was edited"));
}

// Builds the parts of a tokenizer from one file. Its views are into the JSON.
class Builder {
 public:
  Builder(const Json& tokenizer, const Json& config, const std::string& origin)
      : tokenizer_(tokenizer), config_(config), model_(MemberOrNull(tokenizer, "model")), origin_(origin) {}

  absl::StatusOr<TokenizerParts> Build() {
    LONGSPAN_RETURN_IF_ERROR(CheckModelKind());
    LONGSPAN_RETURN_IF_ERROR(ReadVocabulary());
    LONGSPAN_RETURN_IF_ERROR(
        AddNormalizerSteps(MemberOrNull(tokenizer_, "normalizer"), origin_, &parts_.normalizer));
    LONGSPAN_RETURN_IF_ERROR(ReadAddedTokens());
    LONGSPAN_RETURN_IF_ERROR(AddTokens());
    bool byte_level = false;
    LONGSPAN_RETURN_IF_ERROR(AddPreTokenizerSteps(MemberOrNull(tokenizer_, "pre_tokenizer"), origin_,
                                                  &parts_.pre_tokenizer, &byte_level));
    LONGSPAN_RETURN_IF_ERROR(MakeModel(byte_level));
    LONGSPAN_RETURN_IF_ERROR(SetSurroundings());
    return std::move(parts_);
  }

 private:
  struct FileToken {
    std::string name;
    AddedToken token;  // its content is the name, normalised if it is looked for in normalised text
    bool normalized;
  };

  absl::Status CheckModelKind();
  absl::Status ReadVocabulary();
  absl::Status ReadAddedTokens();
  absl::Status AddTokens();
  absl::StatusOr<BpeModel::Merges> ReadMerges();
  absl::Status MakeModel(bool byte_level);
  absl::Status SetSurroundings();
  absl::StatusOr<std::optional<int32_t>> ConfiguredToken(const char* key);

  std::optional<int32_t> FindToken(std::string_view text) const {
    for (const FileToken& added : added_) {
      if (added.name == text) return added.token.id;
    }
    const auto found = vocabulary_.find(text);
    if (found == vocabulary_.end()) return std::nullopt;
    return found->second;
  }

  const Json& tokenizer_;
  const Json& config_;
  const Json& model_;
  const std::string& origin_;
  TokenizerParts parts_;
  BpeModel::Vocabulary vocabulary_;
  std::vector<FileToken> added_;
  int32_t max_id_ = 0;
};

absl::Status Builder::CheckModelKind() {
  JsonFieldReader model(model_, origin_, "model.");
  // Older files do not name the kind; those with merges are BPE.
  const std::string type = model.Text("type", MemberOrNull(model_, "merges").is_null() ? "" : "BPE");
  if (type != "BPE") return UnsupportedStep(origin_, "model", type);
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!model.Text(key, "").empty()) return UnsupportedStep(origin_, "model setting", key);
  }
  const Json& dropout = MemberOrNull(model_, "dropout");
  if (!dropout.is_null() && dropout != 0.0) return UnsupportedStep(origin_, "model setting", "dropout");
  return model.status();
}

absl::Status Builder::ReadVocabulary() {
  const Json& vocabulary = MemberOrNull(model_, "vocab");
  if (!vocabulary.is_object() || vocabulary.empty())
    return Damaged(origin_, "model.vocab is not a vocabulary");
  vocabulary_.reserve(vocabulary.size());
  for (auto entry = vocabulary.begin(); entry != vocabulary.end(); ++entry) {
    const Json& id = entry.value();
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= kMaxTokens) {
      return Damaged(origin_, absl::StrCat("model.vocab gives '", entry.key(),
                                           "' an id that is not from 0 to ", kMaxTokens - 1));
    }
    vocabulary_.emplace(entry.key(), id.get<int32_t>());
    max_id_ = std::max(max_id_, id.get<int32_t>());
  }
  return absl::OkStatus();
}

absl::Status Builder::ReadAddedTokens() {
  for (const Json& entry : MemberOrNull(tokenizer_, "added_tokens")) {
    JsonFieldReader reader(entry, origin_, "added_tokens.");
    AddedToken token;
    const std::string name = reader.Text("content", "");
    token.content = name;
    token.id = static_cast<int32_t>(reader.Integer("id", 0, kMaxTokens - 1));
    token.special = reader.Flag("special", false);
    token.single_word = reader.Flag("single_word", false);
    token.strip_left = reader.Flag("lstrip", false);
    token.strip_right = reader.Flag("rstrip", false);
    const bool normalized = reader.Flag("normalized", !token.special);
    LONGSPAN_RETURN_IF_ERROR(reader.status());
    if (normalized) LONGSPAN_RETURN_IF_ERROR(parts_.normalizer.Apply(&token.content));
    max_id_ = std::max(max_id_, token.id);
    added_.push_back({name, std::move(token), normalized});
  }
  return absl::OkStatus();
}

absl::Status Builder::AddTokens() {
  LONGSPAN_ASSIGN_OR_RETURN(const DecoderRules decoder,
                            ParseDecoder(MemberOrNull(tokenizer_, "decoder"), origin_));
  // Some files skip ids, but only a damaged one has far more of them than tokens.
  constexpr size_t kMostSkipped = 1 << 16;
  const size_t num_tokens = vocabulary_.size() + added_.size();
  if (static_cast<size_t>(max_id_) > 2 * num_tokens + kMostSkipped) {
    return Damaged(origin_, absl::StrCat("the largest token id is ", max_id_, ", but there are only ",
                                         num_tokens, " tokens"));
  }
  parts_.tokens = TokenTable(int64_t{max_id_} + 1, 0);
  for (const auto& [text, id] : vocabulary_) parts_.tokens.SetBytes(id, decoder.Shown(text));
  for (const FileToken& added : added_) {
    const AddedToken& token = added.token;
    // An added token is plain text even where the vocabulary is written in the byte alphabet.
    parts_.tokens.SetBytes(token.id, decoder.byte_alphabet ? token.content : decoder.Shown(token.content));
    if (token.special) parts_.tokens.SetSpecial(token.id);
    (added.normalized ? parts_.added_normalized : parts_.added).Add(token);
  }
  parts_.strips_leading_space = decoder.strips_leading_space;
  return absl::OkStatus();
}

// A merge is "left right" or ["left", "right"].
absl::StatusOr<BpeModel::Merges> Builder::ReadMerges() {
  BpeModel::Merges merges;
  const Json& list = MemberOrNull(model_, "merges");
  merges.reserve(list.size());
  for (const Json& merge : list) {
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      merges.emplace_back(merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>());
      continue;
    }
    const std::string_view text =
        merge.is_string() ? merge.get_ref<const std::string&>() : std::string_view();
    const size_t space = text.find(' ');
    if (space == text.npos || text.find(' ', space + 1) != text.npos) {
      return Damaged(origin_, absl::StrCat("model.merges[", merges.size(), "] is not two tokens"));
    }
    merges.emplace_back(text.substr(0, space), text.substr(space + 1));
  }
  return merges;
}

absl::Status Builder::MakeModel(bool byte_level) {
  JsonFieldReader model(model_, origin_, "model.");
  BpeOptions options;
  options.byte_level = byte_level;
  options.byte_fallback = model.Flag("byte_fallback", false);
  options.ignore_merges = model.Flag("ignore_merges", false);
  options.fuse_unknown = model.Flag("fuse_unk", false);
  const std::string unknown = model.Text("unk_token", "");
  LONGSPAN_RETURN_IF_ERROR(model.status());
  if (!unknown.empty()) {
    options.unknown_id = FindToken(unknown);
    if (!options.unknown_id.has_value()) {
      return Damaged(origin_, absl::StrCat("model.unk_token '", unknown, "' is not in the vocabulary"));
    }
  }
  LONGSPAN_ASSIGN_OR_RETURN(const BpeModel::Merges merges, ReadMerges());
  absl::StatusOr<std::unique_ptr<BpeModel>> bpe = BpeModel::Create(vocabulary_, merges, options);
  if (!bpe.ok())
    return absl::Status(bpe.status().code(), absl::StrCat(origin_, ": ", bpe.status().message()));
  parts_.model = *std::move(bpe);
  return absl::OkStatus();
}

// A token of tokenizer_config.json: its text, or an object that has it as "content".
absl::StatusOr<std::optional<int32_t>> Builder::ConfiguredToken(const char* key) {
  const Json& node = MemberOrNull(config_, key);
  if (node.is_null()) return std::optional<int32_t>();
  JsonFieldReader reader(node.is_object() ? node : config_, origin_, "tokenizer_config.");
  const std::string text = reader.Text(node.is_object() ? "content" : key, "");
  LONGSPAN_RETURN_IF_ERROR(reader.status());
  return FindToken(text);
}

absl::Status Builder::SetSurroundings() {
  LONGSPAN_ASSIGN_OR_RETURN(parts_.bos_id, ConfiguredToken("bos_token"));
  LONGSPAN_ASSIGN_OR_RETURN(const std::optional<int32_t> eos, ConfiguredToken("eos_token"));
  if (eos.has_value()) parts_.eos_ids = {*eos};

  LONGSPAN_ASSIGN_OR_RETURN(SurroundingIds surrounding,
                            ParsePostProcessor(MemberOrNull(tokenizer_, "post_processor"), origin_));
  // These classes put BOS and EOS around a text themselves, whatever the file's post-processor says.
  JsonFieldReader config(config_, origin_, "tokenizer_config.");
  const std::string class_name = config.Text("tokenizer_class", "");
  if (class_name.starts_with("LlamaTokenizer") || class_name.starts_with("GemmaTokenizer")) {
    surrounding = {};
    if (config.Flag("add_bos_token", true) && parts_.bos_id.has_value())
      surrounding.prefix = {*parts_.bos_id};
    if (config.Flag("add_eos_token", false) && eos.has_value()) surrounding.suffix = {*eos};
  }
  LONGSPAN_RETURN_IF_ERROR(config.status());
  for (const std::vector<int32_t>* ids : {&surrounding.prefix, &surrounding.suffix}) {
    for (const int32_t id : *ids) {
      if (id > max_id_) {
        return Damaged(origin_,
                       absl::StrCat("post_processor adds token ", id, ", but the last one is ", max_id_));
      }
    }
  }
  parts_.prefix = std::move(surrounding.prefix);
  parts_.suffix = std::move(surrounding.suffix);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> CreateTokenizerFromJson(const Json& tokenizer, const Json& config,
                                                                   const std::string& origin) {
  LONGSPAN_ASSIGN_OR_RETURN(TokenizerParts parts, Builder(tokenizer, config, origin).Build());
  return std::make_unique<TextTokenizer>(std::move(parts));
}

absl::StatusOr<std::unique_ptr<Tokenizer>> CreateHuggingFaceTokenizer(const std::string& folder) {
  const std::string path = absl::StrCat(folder, "/tokenizer.json");
  const std::string config_path = absl::StrCat(folder, "/tokenizer_config.json");
  std::error_code error;
  if (!std::filesystem::exists(path, error)) {
    return absl::NotFoundError(
        absl::StrCat(path, ": is missing; copy it from the model's source, or run the model on token ids"));
  }
  LONGSPAN_ASSIGN_OR_RETURN(const Json tokenizer, ReadJsonObject(path));
  Json config;
  if (std::filesystem::exists(config_path, error)) {
    LONGSPAN_ASSIGN_OR_RETURN(config, ReadJsonObject(config_path));
  }
  return CreateTokenizerFromJson(tokenizer, config, path);
}

}  // namespace longspan
