#include "runtime/tokenizer/bpe_model.h"

#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "kernels/status_macros.h"
#include "runtime/tokenizer/byte_alphabet.h"
#include "runtime/tokenizer/utf8.h"

namespace longspan {
namespace {

uint64_t PairKey(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

std::string ByteToken(uint8_t byte) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  return {'<', '0', 'x', kDigits[byte >> 4], kDigits[byte & 15], '>'};
}

int HexDigit(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  return -1;
}

}  // namespace

std::optional<uint8_t> ParseByteToken(std::string_view text) {
  if (text.size() != 6 || !text.starts_with("<0x") || text.back() != '>') return std::nullopt;
  const int high = HexDigit(text[3]);
  const int low = HexDigit(text[4]);
  if (high < 0 || low < 0) return std::nullopt;
  return static_cast<uint8_t>(high * 16 + low);
}

absl::StatusOr<std::unique_ptr<BpeModel>> BpeModel::Create(const Vocabulary& vocabulary, const Merges& merges,
                                                           const BpeOptions& options) {
  auto model = std::unique_ptr<BpeModel>(new BpeModel(options));
  model->AddSymbols(vocabulary);
  LONGSPAN_RETURN_IF_ERROR(model->AddMerges(vocabulary, merges));
  if (options.ignore_merges) {
    model->whole_.reserve(vocabulary.size());
    for (const auto& [text, id] : vocabulary) {
      std::optional<std::string> whole;
      if (options.byte_level) {
        whole = DecodeByteAlphabet(text);
      } else {
        whole = std::string(text);
      }
      if (whole.has_value()) model->whole_.emplace(*std::move(whole), id);
    }
  }
  return model;
}

void BpeModel::AddSymbols(const Vocabulary& vocabulary) {
  for (int byte = 0; byte < 256; ++byte) {
    std::string text;
    if (options_.byte_level) {
      AppendUtf8(ByteAlphabetCharacter(static_cast<uint8_t>(byte)), &text);
    } else {
      text = ByteToken(static_cast<uint8_t>(byte));
    }
    const auto found = vocabulary.find(text);
    if (found != vocabulary.end()) byte_ids_[byte] = found->second;
  }
  if (options_.byte_level) return;
  for (const auto& [text, id] : vocabulary) {
    if (text.empty()) continue;
    const Utf8Step step = DecodeUtf8(text, 0);
    if (step.length == text.size()) character_ids_.emplace(step.code, id);
  }
}

absl::Status BpeModel::AddMerges(const Vocabulary& vocabulary, const Merges& merges) {
  const bool has_all_bytes =
      std::none_of(byte_ids_.begin(), byte_ids_.end(), [](int32_t id) { return id < 0; });
  const bool keeps_every_character =
      options_.unknown_id.has_value() || (options_.byte_fallback && has_all_bytes);
  if (!options_.byte_level && keeps_every_character) joins_.emplace();
  merges_.reserve(merges.size());
  std::string joined;
  uint32_t rank = 0;
  for (const auto& [left, right] : merges) {
    joined.assign(left).append(right);
    const auto left_id = vocabulary.find(left);
    const auto right_id = vocabulary.find(right);
    const auto joined_id = vocabulary.find(joined);
    if (left_id == vocabulary.end() || right_id == vocabulary.end() || joined_id == vocabulary.end()) {
      return absl::DataLossError(
          absl::StrCat("merge ", rank, " joins '", std::string(left), "' and '", std::string(right),
                       "', but they or what they become are not in the vocabulary; the file is damaged or "
                       "was edited"));
    }
    merges_.insert_or_assign(PairKey(left_id->second, right_id->second), BpeMerge{rank++, joined_id->second});
    if (joins_.has_value()) joins_->AddToken(joined);
    if (ParseByteToken(left).has_value() || ParseByteToken(right).has_value()) joins_.reset();
  }
  return absl::OkStatus();
}

void BpeModel::PushSymbols(std::string_view text, size_t begin, size_t end, BpeScratch* scratch) const {
  const auto byte_id = [&](size_t at) { return byte_ids_[static_cast<uint8_t>(text[at])]; };
  if (options_.byte_level) {
    for (size_t at = begin; at < end; ++at) {
      const int32_t id = byte_id(at) >= 0 ? byte_id(at) : options_.unknown_id.value_or(-1);
      if (id >= 0) scratch->Push(id, at, at + 1);
    }
    return;
  }
  for (size_t at = begin; at < end;) {
    const Utf8Step step = DecodeUtf8(text, at);
    const size_t next = at + step.length;
    if (const auto found = character_ids_.find(step.code); found != character_ids_.end()) {
      scratch->Push(found->second, at, next);
    } else if (std::all_of(text.begin() + at, text.begin() + next, [&](char byte) {
                 return options_.byte_fallback && byte_ids_[static_cast<uint8_t>(byte)] >= 0;
               })) {
      for (size_t byte = at; byte < next; ++byte) scratch->Push(byte_id(byte), byte, byte + 1);
    } else if (options_.unknown_id.has_value()) {
      scratch->Push(*options_.unknown_id, at, next);
    }
    at = next;
  }
}

void BpeModel::Encode(std::span<const std::string_view> pieces, std::vector<int32_t>* ids) const {
  BpeScratch scratch;
  for (const std::string_view piece : pieces) {
    if (piece.empty()) continue;
    if (options_.ignore_merges) {
      if (const auto found = whole_.find(absl::string_view(piece.data(), piece.size()));
          found != whole_.end()) {
        ids->push_back(found->second);
        continue;
      }
    }
    const size_t first_id = ids->size();
    if (joins_.has_value()) {
      joins_->ForEachWord(piece,
                          [&](size_t begin, size_t end) { EncodeWord(piece, begin, end, &scratch, ids); });
    } else {
      EncodeWord(piece, 0, piece.size(), &scratch, ids);
    }
    if (options_.fuse_unknown) FuseUnknown(first_id, ids);
  }
}

void BpeModel::EncodeWord(std::string_view text, size_t begin, size_t end, BpeScratch* scratch,
                          std::vector<int32_t>* ids) const {
  scratch->Clear();
  PushSymbols(text, begin, end, scratch);
  scratch->Merge([&](const BpeSymbol& left, const BpeSymbol& right) -> std::optional<BpeMerge> {
    const auto found = merges_.find(PairKey(left.id, right.id));
    if (found == merges_.end()) return std::nullopt;
    return found->second;
  });
  scratch->ForEach([&](const BpeSymbol& symbol) { ids->push_back(symbol.id); });
}

void BpeModel::FuseUnknown(size_t begin, std::vector<int32_t>* ids) const {
  if (!options_.unknown_id.has_value()) return;
  const auto end = std::unique(ids->begin() + begin, ids->end(), [&](int32_t left, int32_t right) {
    return left == *options_.unknown_id && right == *options_.unknown_id;
  });
  ids->erase(end, ids->end());
}

}  // namespace longspan
