#include "runtime/grammar/grammar.h"

#include <algorithm>
#include <limits>

#include "kernels/check.h"
#include "kernels/status_macros.h"
#include "runtime/grammar/completions.h"
#include "runtime/grammar/json_rules.h"
#include "runtime/grammar/json_schema.h"
#include "runtime/grammar/matcher.h"
#include "runtime/grammar/token_masks.h"

namespace longspan {
namespace {

// Where a request is in the texts of its grammar.
class GrammarConstraint : public TokenConstraint {
 public:
  GrammarConstraint(std::shared_ptr<const Grammar> grammar, std::shared_ptr<const TokenMasks> masks)
      : grammar_(std::move(grammar)),
        masks_(std::move(masks)),
        matcher_(masks_->automaton(), masks_->completions()) {
    can_end_ = matcher_.Start({masks_->automaton().start, Matcher::kOutermost}, &threads_);
  }

  void Allowed(int64_t tokens_left, std::span<uint64_t> allowed) override {
    LONGSPAN_CHECK(allowed.size() == masks_->vocabulary().mask_words());
    std::fill(allowed.begin(), allowed.end(), 0);
    const auto allow = [&](int32_t token) {
      allowed[static_cast<size_t>(token) / 64] |= uint64_t{1} << (token % 64);
    };
    int64_t distance = can_end_ ? 0 : std::numeric_limits<int64_t>::max() - 1;
    for (const Matcher::Thread& thread : threads_) distance = std::min(distance, matcher_.Distance(thread));
    if (can_end_)
      std::for_each(masks_->vocabulary().end_ids().begin(), masks_->vocabulary().end_ids().end(), allow);
    // After the next token, with one kept for the end of the sequence. Too few tokens left: the shortest way.
    const int64_t most_distance = std::max(tokens_left, distance + 1) - 2;
    masks_->Allow(&matcher_, threads_, most_distance, allowed);
    AllowSpecials(most_distance, allow);
  }

  void Accept(int32_t token) override {
    const TokenVocabulary& vocabulary = masks_->vocabulary();
    if (vocabulary.IsEnd(token)) {
      LONGSPAN_CHECK(can_end_);
      threads_.clear();
      return;
    }
    const std::string_view bytes = vocabulary.Bytes(token);
    if (bytes.empty()) {
      const std::vector<std::string>& spellings = masks_->automaton().spellings;
      const auto spelled = std::find_if(spellings.begin(), spellings.end(), [&](const std::string& spelling) {
        return vocabulary.Special(spelling) == token;
      });
      LONGSPAN_CHECK(spelled != spellings.end());
      Step([&](Matcher::Threads* threads) {
        return matcher_.StepSpecial(static_cast<int32_t>(spelled - spellings.begin()), 0, threads->size(),
                                    threads);
      });
    }
    for (const char byte : bytes) {
      Step([&](Matcher::Threads* threads) {
        return matcher_.StepByte(static_cast<uint8_t>(byte), 0, threads->size(), threads);
      });
    }
    LONGSPAN_CHECK(can_end_ || !threads_.empty());
    if (matcher_.num_frames() > most_frames_) {
      matcher_.Compact(&threads_);
      most_frames_ = 2 * matcher_.num_frames() + 64;
    }
  }

 private:
  // step(threads): appends those that come next.
  template <typename StepThreads>
  void Step(const StepThreads& step) {
    const size_t before = threads_.size();
    can_end_ = step(&threads_);
    threads_.erase(threads_.begin(), threads_.begin() + static_cast<std::ptrdiff_t>(before));
  }

  template <typename Allow>
  void AllowSpecials(int64_t most_distance, const Allow& allow) {
    for (const Matcher::Thread& thread : threads_) {
      for (const SpecialEdge& edge : masks_->automaton().specials.of(thread.state)) {
        const Matcher::Thread after{edge.target, thread.frame};
        const auto token =
            masks_->vocabulary().Special(masks_->automaton().spellings[static_cast<size_t>(edge.spelling)]);
        if (!token || !matcher_.HasCompletion(after) || matcher_.Distance(after) > most_distance) continue;
        allow(*token);
      }
    }
  }

  const std::shared_ptr<const Grammar> grammar_;  // owns the automaton
  const std::shared_ptr<const TokenMasks> masks_;
  Matcher matcher_;
  Matcher::Threads threads_;
  bool can_end_ = false;
  size_t most_frames_ = 64;  // more are looked through for those that are needed no more
};

Grammar::Shared Built(AutomatonBuilder* builder, StateId start) {
  absl::StatusOr<Automaton> automaton = builder->Build(start);
  LONGSPAN_CHECK(automaton.ok());
  return std::make_shared<const Grammar>(*std::move(automaton));
}

}  // namespace

Grammar::Grammar(Automaton automaton) : automaton_(std::move(automaton)) {}
Grammar::~Grammar() = default;

absl::StatusOr<Grammar::Shared> Grammar::FromJsonSchema(const nlohmann::ordered_json& schema) {
  LONGSPAN_ASSIGN_OR_RETURN(Automaton automaton, CompileJsonSchema(schema));
  return std::make_shared<const Grammar>(std::move(automaton));
}

Grammar::Shared Grammar::JsonObject() {
  AutomatonBuilder builder;
  JsonRules rules(&builder);
  return Built(&builder, rules.Object());
}

Grammar::Shared Grammar::Literal(std::string_view text) {
  LONGSPAN_CHECK(!text.empty());
  AutomatonBuilder builder;
  const StateId start = builder.AddState();
  const StateId end = builder.AddState();
  builder.Accept(end);
  builder.AddText(start, text, end);
  return Built(&builder, start);
}

Grammar::Shared Grammar::SpecialToken(std::string_view spelling) {
  LONGSPAN_CHECK(!spelling.empty());
  AutomatonBuilder builder;
  const StateId start = builder.AddState();
  const StateId end = builder.AddState();
  builder.Accept(end);
  builder.AddText(start, spelling, end);
  builder.AddSpecial(start, spelling, end);
  return Built(&builder, start);
}

absl::StatusOr<Grammar::Shared> Grammar::Concatenation(const std::vector<Shared>& parts) {
  LONGSPAN_CHECK(!parts.empty());
  AutomatonBuilder builder;
  const StateId start = builder.AddState();
  StateId end = start;
  for (const Shared& part : parts) {
    const StateId next = builder.AddState();
    builder.AddCall(end, builder.Append(part->automaton_), next);
    end = next;
  }
  builder.Accept(end);
  LONGSPAN_ASSIGN_OR_RETURN(Automaton automaton, builder.Build(start));
  return std::make_shared<const Grammar>(std::move(automaton));
}

absl::StatusOr<Grammar::Shared> Grammar::AnyOf(const std::vector<Shared>& parts) {
  LONGSPAN_CHECK(!parts.empty());
  AutomatonBuilder builder;
  const StateId start = builder.AddState();
  const StateId end = builder.AddState();
  builder.Accept(end);
  for (const Shared& part : parts) builder.AddCall(start, builder.Append(part->automaton_), end);
  LONGSPAN_ASSIGN_OR_RETURN(Automaton automaton, builder.Build(start));
  return std::make_shared<const Grammar>(std::move(automaton));
}

std::shared_ptr<const TokenMasks> Grammar::MasksFor(
    const std::shared_ptr<const TokenVocabulary>& vocabulary) const {
  const std::lock_guard lock(mutex_);
  if (masks_ == nullptr || &masks_->vocabulary() != vocabulary.get()) {
    masks_ = std::make_shared<const TokenMasks>(automaton_, vocabulary);
  }
  return masks_;
}

int64_t Grammar::LeastTokens(const std::shared_ptr<const TokenVocabulary>& vocabulary) const {
  return int64_t{MasksFor(vocabulary)->completions().tokens(automaton_.start)} + 1;
}

std::unique_ptr<TokenConstraint> NewConstraint(std::shared_ptr<const Grammar> grammar,
                                               const std::shared_ptr<const TokenVocabulary>& vocabulary) {
  std::shared_ptr<const TokenMasks> masks = grammar->MasksFor(vocabulary);
  return std::make_unique<GrammarConstraint>(std::move(grammar), std::move(masks));
}

}  // namespace longspan
