// The printable alphabet in which byte-level BPE vocabularies are written (GPT-2, Radford et al. 2019): each
// byte is one character, so that a vocabulary file is plain text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace longspan {

// Printable Latin-1 characters stand for their own byte; the other 68 bytes take U+0100 and up, in order.
uint32_t ByteAlphabetCharacter(uint8_t byte);

// The bytes that a token's text stands for; empty when a character is not of the alphabet.
std::optional<std::string> DecodeByteAlphabet(std::string_view text);

}  // namespace longspan
