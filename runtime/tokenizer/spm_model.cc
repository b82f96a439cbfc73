#include "runtime/tokenizer/spm_model.h"

#include <algorithm>
#include <bit>

#include "runtime/tokenizer/utf8.h"

namespace longspan {
namespace {

constexpr std::string_view kEscapedSpace = "\xE2\x96\x81";  // U+2581

// Unsigned numbers that are in the opposite order of the scores.
uint32_t RankOfScore(double score) {
  constexpr uint32_t kSign = 1u << 31;
  // Adding zero makes -0 and 0 the same score.
  const uint32_t bits = std::bit_cast<uint32_t>(static_cast<float>(score) + 0.0f);
  return (bits & kSign) != 0 ? bits : ~(bits | kSign);
}

}  // namespace

std::string WithPlainSpaces(std::string_view text) {
  std::string plain;
  plain.reserve(text.size());
  size_t at = 0;
  for (size_t space; (space = text.find(kEscapedSpace, at)) != text.npos; at = space + kEscapedSpace.size()) {
    plain.append(text, at, space - at).push_back(' ');
  }
  return plain.append(text, at);
}

void SpmModel::AddPiece(std::string_view text, int32_t id, double score) {
  if (pieces_.try_emplace(text, BpeMerge{RankOfScore(score), id}).second) joins_.AddToken(text);
}

void SpmModel::AddUserDefined(std::string_view text, int32_t id, double score) {
  if (text.empty()) return;
  AddPiece(text, id, score);
  user_defined_.Add(text, id);
}

void SpmModel::Encode(std::span<const std::string_view> pieces, std::vector<int32_t>* ids) const {
  BpeScratch scratch;
  for (const std::string_view piece : pieces) {
    const std::string plain = WithPlainSpaces(piece);
    const std::string_view text = plain;
    size_t at = 0;
    while (const auto match = user_defined_.Find(text, at)) {
      EncodeUncut(text.substr(at, match->begin - at), &scratch, ids);
      ids->push_back(match->value);
      at = match->end;
    }
    EncodeUncut(text.substr(at), &scratch, ids);
  }
}

void SpmModel::EncodeUncut(std::string_view text, BpeScratch* scratch, std::vector<int32_t>* ids) const {
  if (text.empty()) return;
  joins_.ForEachWord(text, [&](size_t begin, size_t end) { EncodeWord(text, begin, end, scratch, ids); });
}

void SpmModel::EncodeWord(std::string_view text, size_t begin, size_t end, BpeScratch* scratch,
                          std::vector<int32_t>* ids) const {
  const auto find = [&](uint32_t from, uint32_t to) -> std::optional<BpeMerge> {
    const auto found = pieces_.find(text.substr(from, to - from));
    if (found == pieces_.end()) return std::nullopt;
    return found->second;
  };
  scratch->Clear();
  for (size_t at = begin; at < end;) {
    const size_t next = at + DecodeUtf8(text, at).length;
    scratch->Push(-1, at, next);
    at = next;
  }
  scratch->Merge([&](const BpeSymbol& left, const BpeSymbol& right) { return find(left.begin, right.end); });
  scratch->ForEach([&](const BpeSymbol& symbol) {
    int32_t id = symbol.id;
    if (id < 0) {  // a single character
      const std::optional<BpeMerge> piece = find(symbol.begin, symbol.end);
      if (!piece.has_value()) {
        EncodeWithoutPiece(text.substr(symbol.begin, symbol.end - symbol.begin), ids);
        return;
      }
      id = piece->id;
    }
    ids->push_back(id);
  });
}

void SpmModel::EncodeWithoutPiece(std::string_view bytes, std::vector<int32_t>* ids) const {
  const auto id_of = [&](char byte) { return byte_ids_[static_cast<uint8_t>(byte)]; };
  if (std::all_of(bytes.begin(), bytes.end(), [&](char byte) { return id_of(byte) >= 0; })) {
    for (const char byte : bytes) ids->push_back(id_of(byte));
  } else if (unknown_id_.has_value() && (ids->empty() || ids->back() != *unknown_id_)) {
    ids->push_back(*unknown_id_);  // a run of unknown characters is one unknown token
  }
}

}  // namespace longspan
