#include "runtime/generation/generation.h"

#include <gtest/gtest.h>
#include <xxhash.h>

#include <cstring>
#include <map>

namespace longspan {
namespace {

using std::chrono::milliseconds;

// Each token is one byte; 0 ends a text.
class ByteTokenizer final : public Tokenizer {
 public:
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text, const EncodeOptions&) const override {
    return std::vector<int32_t>(text.begin(), text.end());
  }
  std::string Decode(std::span<const int32_t> ids) const override {
    std::string text;
    for (const int32_t id : ids) text += TokenBytes(id);
    return text;
  }
  std::string TokenBytes(int32_t id) const override {
    return id == 0 ? "" : std::string(1, static_cast<char>(id));
  }
  std::string Spelling(int32_t id) const override { return id == 0 ? "<end>" : TokenBytes(id); }
  bool strips_leading_space() const override { return false; }
  bool IsSpecial(int32_t id) const override { return id == 0; }
  int64_t vocab_size() const override { return 256; }
  std::optional<int32_t> bos_id() const override { return std::nullopt; }
  std::vector<int32_t> eos_ids() const override { return {0}; }
};

TEST(GenerationTest, StreamsTextAndStops) {
  const ByteTokenizer tokenizer;
  const ManualClock clock;
  std::string streamed;
  GenerationOptions options;
  options.stop = {"!!"};
  options.on_text = [&](std::string_view text) { streamed += text; };
  Generation generation(std::move(options), &tokenizer, clock);
  EXPECT_TRUE(generation.OnToken('a'));
  EXPECT_TRUE(generation.OnToken('!'));
  EXPECT_EQ(streamed, "a");
  EXPECT_FALSE(generation.OnToken('!'));
  generation.OnFinish(FinishReason::kStop);
  EXPECT_EQ(streamed, "a");
  EXPECT_EQ(generation.text(), "a");
  EXPECT_EQ(generation.tokens(), std::vector<int32_t>({'a', '!', '!'}));
}

TEST(GenerationTest, TheEndTellsWhatWasHeldBack) {
  const ByteTokenizer tokenizer;
  const ManualClock clock;
  GenerationOptions options;
  options.stop = {"!!"};
  options.eos_token_ids = {0, 'E'};
  Generation generation(std::move(options), &tokenizer, clock);
  EXPECT_TRUE(generation.OnToken('!'));
  EXPECT_TRUE(generation.OnToken(0xC3));  // half a character
  EXPECT_TRUE(generation.OnToken('E'));   // ends the text and is no part of it
  EXPECT_EQ(generation.text(), "");
  generation.OnFinish(FinishReason::kStop);
  EXPECT_EQ(generation.text(), "!\uFFFD");
}

TEST(GenerationTest, WithoutATokenizerIdsAreTheText) {
  const ManualClock clock;
  std::string streamed;
  GenerationOptions options;
  options.on_text = [&](std::string_view text) { streamed += text; };
  Generation generation(std::move(options), nullptr, clock);
  generation.OnToken(5);
  generation.OnToken(17);
  generation.OnFinish(FinishReason::kLength);
  EXPECT_EQ(streamed, "5 17");
  EXPECT_EQ(generation.tokenizer(), nullptr);
}

TEST(GenerationTest, MeasuresTimeFromSubmission) {
  const ByteTokenizer tokenizer;
  ManualClock clock;
  clock.Advance(milliseconds(1000));
  Generation generation({}, &tokenizer, clock);
  EXPECT_FALSE(generation.first_token_s().has_value());
  clock.Advance(milliseconds(250));
  generation.OnToken('a');
  clock.Advance(milliseconds(500));
  generation.OnToken('b');
  clock.Advance(milliseconds(125));
  generation.OnFinish(FinishReason::kLength);
  EXPECT_DOUBLE_EQ(*generation.first_token_s(), 0.25);
  EXPECT_DOUBLE_EQ(*generation.last_token_s(), 0.75);
  EXPECT_DOUBLE_EQ(generation.end_to_end_s(), 0.875);
}

// The digest of all rows is that of their bytes in one piece, written out most significant byte first.
TEST(GenerationTest, DigestsLogitsInOrder) {
  const ManualClock clock;
  GenerationOptions options;
  options.digest = true;
  Generation generation(std::move(options), nullptr, clock);
  const std::vector<float> logits = {1.5f, -2.0f, 0.0f, 3.25f, 1e-20f, -0.0f};
  generation.OnLogits(0, std::span(logits).first(3));
  generation.OnLogits(1, std::span(logits).last(3));
  const XXH128_hash_t whole = XXH3_128bits(logits.data(), logits.size() * sizeof(float));
  char expected[33];
  std::snprintf(expected, sizeof expected, "%016llx%016llx", static_cast<unsigned long long>(whole.high64),
                static_cast<unsigned long long>(whole.low64));
  EXPECT_EQ(generation.digest(), expected);
}

TEST(GenerationTest, TheDigestOfNothingIsKnown) {
  EXPECT_EQ(LogitsDigest().Hex(),
            "99aa06d3014798d86001c324468d497f");  // from the xxHash specification's test
}

}  // namespace
}  // namespace longspan
