// Text to token ids and back.
//
// Threads: immutable after creation; may be used from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace longspan {

class ModelFiles;

struct EncodeOptions {
  bool add_special = true;     // BOS and EOS as the model file asks for
  bool parse_special = false;  // text that spells a special token becomes that token
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // From the model's own files: GGUF metadata (tokenizer.ggml.*) or tokenizer.json. A kind that is not
  // supported is an Unimplemented error that names it; such a model still runs on token ids.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Create(const ModelFiles& files);

  virtual absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text,
                                                      const EncodeOptions& options) const = 0;

  // Text of a whole sequence, special tokens left out. Bytes that are not UTF-8 become U+FFFD.
  virtual std::string Decode(std::span<const int32_t> ids) const = 0;

  // Raw bytes of one token in the middle of a text; empty for special tokens. May be part of a character.
  virtual std::string TokenBytes(int32_t id) const = 0;

  // True when the text of a sequence loses one leading space that encoding put there.
  virtual bool strips_leading_space() const = 0;

  // A token as the vocabulary has it: TokenBytes, and of a special token its name ("</s>"). Empty for ids
  // without a token.
  virtual std::string Spelling(int32_t id) const = 0;

  virtual bool IsSpecial(int32_t id) const = 0;
  virtual int64_t vocab_size() const = 0;
  virtual std::optional<int32_t> bos_id() const = 0;
  // Tokens that end a generation, from the tokenizer's own metadata.
  virtual std::vector<int32_t> eos_ids() const = 0;
};

// Turns tokens into text as they arrive. Never emits part of a UTF-8 character: bytes of an unfinished
// character wait for the next token.
class StreamDecoder {
 public:
  // `tokenizer` must outlive the decoder. With `at_start` the first token begins a text, so that a leading
  // space that encoding adds is not shown; without, it continues one (an answer after a prompt).
  StreamDecoder(const Tokenizer& tokenizer, bool at_start);

  // Text that became complete with this token.
  std::string Append(int32_t id);
  // What is left at the end; an unfinished character becomes U+FFFD.
  std::string Finish();

 private:
  const Tokenizer* tokenizer_;
  bool strip_next_space_;
  std::string pending_;
};

}  // namespace longspan
