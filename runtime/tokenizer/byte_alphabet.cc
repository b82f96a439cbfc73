#include "runtime/tokenizer/byte_alphabet.h"

#include <array>

#include "runtime/tokenizer/utf8.h"

namespace longspan {
namespace {

constexpr uint32_t kFirstSubstitute = 0x100;
constexpr int kNumSubstitutes = 68;
constexpr int16_t kNoByte = -1;

constexpr bool StandsForItself(uint32_t byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

constexpr std::array<uint16_t, 256> MakeCharacters() {
  std::array<uint16_t, 256> characters{};
  uint32_t substitute = kFirstSubstitute;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    characters[byte] = static_cast<uint16_t>(StandsForItself(byte) ? byte : substitute++);
  }
  return characters;
}
constexpr std::array<uint16_t, 256> kCharacters = MakeCharacters();

constexpr std::array<int16_t, kFirstSubstitute + kNumSubstitutes> MakeBytes() {
  std::array<int16_t, kFirstSubstitute + kNumSubstitutes> bytes{};
  for (int16_t& byte : bytes) byte = kNoByte;
  for (int16_t byte = 0; byte < 256; ++byte) bytes[kCharacters[byte]] = byte;
  return bytes;
}
constexpr std::array<int16_t, kFirstSubstitute + kNumSubstitutes> kBytes = MakeBytes();

}  // namespace

uint32_t ByteAlphabetCharacter(uint8_t byte) { return kCharacters[byte]; }

std::optional<std::string> DecodeByteAlphabet(std::string_view text) {
  std::string bytes;
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = DecodeUtf8(text, at);
    if (step.code >= kBytes.size() || kBytes[step.code] == kNoByte) return std::nullopt;
    bytes.push_back(static_cast<char>(kBytes[step.code]));
    at += step.length;
  }
  return bytes;
}

}  // namespace longspan
