#include "tests/engine/fake_executor.h"

#include <algorithm>
#include <limits>
#include <set>

#include "absl/status/status.h"
#include "gtest/gtest.h"

namespace longspan {

std::vector<float> ToyLogits(std::span<const int32_t> tokens, int64_t vocab_size) {
  // FNV-1a over the tokens, then a mixing step for each logit.
  uint64_t hash = 0xcbf29ce484222325;
  for (const int32_t token : tokens) hash = (hash ^ static_cast<uint64_t>(token + 1)) * 0x100000001b3;
  std::vector<float> logits;
  for (int64_t i = 0; i < vocab_size; ++i) {
    uint64_t mixed = (hash + static_cast<uint64_t>(i)) * 0x9E3779B97F4A7C15;
    mixed ^= mixed >> 29;
    mixed *= 0xBF58476D1CE4E5B9;
    logits.push_back(static_cast<float>(mixed >> 40) / static_cast<float>(1 << 24) * 8 - 4);
  }
  return logits;
}

FakeExecutor::FakeExecutor(Options options)
    : options_(std::move(options)), owners_(options_.geometry.pages_per_rank.size()) {}

absl::StatusOr<std::span<const float>> FakeExecutor::Execute(const StepBatch& batch) {
  EXPECT_EQ(batch.step, steps_);
  if (steps_++ == options_.fails_at_step) return absl::UnavailableError("rank 1 is gone");
  // A worker gets bytes, so the batch must survive them.
  const absl::StatusOr<StepBatch> parsed = StepBatch::Parse(batch.Serialize());
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  CheckStep(*parsed);
  for (const BatchSequence& part : parsed->sequences) {
    if (part.starts) {
      Start(part);
    } else {
      Continue(part);
    }
  }
  logits_.clear();
  for (const BatchSequence& part : parsed->sequences) TakeGrants(*parsed, part);
  for (const BatchSequence& part : parsed->sequences) {
    CheckCoverage(part);
    AnswerLogits(part);
  }
  EXPECT_EQ(static_cast<int64_t>(logits_.size()), batch.NumLogitRows() * options_.vocab_size);
  return logits_;
}

void FakeExecutor::CheckStep(const StepBatch& batch) {
  EXPECT_FALSE(batch.shutdown);
  EXPECT_FALSE(batch.sequences.empty());
  EXPECT_LE(batch.NumLogitRows(), options_.max_logit_rows);
  most_tokens_ = std::max(most_tokens_, batch.NumTokens());
  EXPECT_LE(batch.NumTokens(), options_.chunk_tokens + options_.max_sequences);
  std::set<int32_t> seen;
  for (const BatchSequence& part : batch.sequences) {
    EXPECT_TRUE(seen.insert(part.slot).second) << "slot " << part.slot << " is twice in a batch";
    EXPECT_TRUE(part.slot >= 0 && part.slot < options_.max_sequences) << "slot " << part.slot;
    EXPECT_TRUE(part.shift >= 0 && part.shift < options_.geometry.kvp) << "shift " << part.shift;
    EXPECT_FALSE(part.tokens.empty());
    EXPECT_EQ(part.first_live_blocks.size(), options_.geometry.groups.size());
  }
}

void FakeExecutor::Start(const BatchSequence& part) {
  EXPECT_EQ(part.first_position, 0);
  if (const auto old = slots_.find(part.slot); old != slots_.end()) {
    for (size_t g = 0; g < old->second.blocks.size(); ++g) {
      for (const auto& [index, block] : old->second.blocks[g]) Release(old->second, g, block, index);
    }
  }
  Slot slot;
  slot.shift = part.shift;
  slot.tokens = part.tokens;
  slot.first_live_blocks = part.first_live_blocks;
  slot.blocks.resize(options_.geometry.groups.size());
  slots_[part.slot] = std::move(slot);
}

void FakeExecutor::Continue(const BatchSequence& part) {
  ASSERT_TRUE(slots_.contains(part.slot)) << "slot " << part.slot << " goes on and never started";
  Slot& slot = slots_[part.slot];
  ASSERT_FALSE(slot.lost_pages) << "slot " << part.slot << " goes on after its pages were given away";
  EXPECT_EQ(part.shift, slot.shift);
  EXPECT_EQ(part.first_position, static_cast<int64_t>(slot.tokens.size()));
  slot.tokens.insert(slot.tokens.end(), part.tokens.begin(), part.tokens.end());
  for (size_t g = 0; g < slot.blocks.size(); ++g) {
    const int64_t first_live = part.first_live_blocks[g];
    EXPECT_GE(first_live, slot.first_live_blocks[g]);
    slot.first_live_blocks[g] = first_live;
    while (!slot.blocks[g].empty() && slot.blocks[g].begin()->first < first_live) {
      Release(slot, g, slot.blocks[g].begin()->second, slot.blocks[g].begin()->first);
      slot.blocks[g].erase(slot.blocks[g].begin());
    }
  }
}

void FakeExecutor::TakeGrants(const StepBatch& batch, const BatchSequence& part) {
  const KvGeometry& geometry = options_.geometry;
  Slot& slot = slots_[part.slot];
  for (const BlockGrant& grant : part.grants) {
    const auto group = static_cast<size_t>(grant.layer_group);
    ASSERT_LT(group, geometry.groups.size());
    EXPECT_EQ(static_cast<int>(grant.pages.size()), geometry.groups[group].pages_per_block);
    EXPECT_GE(grant.block_index, part.first_live_blocks[group]);
    EXPECT_TRUE(slot.blocks[group].emplace(grant.block_index, Block{grant.pages}).second)
        << "block " << grant.block_index << " was granted before";
    const auto rank = static_cast<size_t>((grant.block_index + part.shift) % geometry.kvp);
    for (const int32_t page : grant.pages) {
      EXPECT_TRUE(page >= 0 && page < geometry.pages_per_rank[rank]) << "page " << page;
      const auto [owner, is_free] = owners_[rank].try_emplace(page, part.slot);
      if (is_free) continue;
      // Workers do not hear that a sequence has finished, so its pages may still be in its slot.
      for (const BatchSequence& other : batch.sequences) {
        EXPECT_NE(other.slot, owner->second) << "page " << page << " of rank " << rank << " has two owners";
      }
      slots_[owner->second].lost_pages = true;
      owner->second = part.slot;
    }
  }
}

void FakeExecutor::CheckCoverage(const BatchSequence& part) {
  const KvGeometry& geometry = options_.geometry;
  const Slot& slot = slots_[part.slot];
  const auto end = static_cast<int64_t>(slot.tokens.size());
  for (size_t g = 0; g < geometry.groups.size(); ++g) {
    const int64_t window = geometry.groups[g].window;
    const int64_t oldest = window == 0 ? 0 : std::max<int64_t>(0, part.first_position - window + 1);
    for (int64_t block = oldest / geometry.block_size; block * geometry.block_size < end; ++block) {
      EXPECT_TRUE(slot.blocks[g].contains(block))
          << "block " << block << " of layer group " << g << " is missing";
    }
    // What no token of this step or a later one can see must have been given back.
    if (!slot.blocks[g].empty()) {
      EXPECT_GT((slot.blocks[g].begin()->first + 1) * geometry.block_size, oldest);
    }
  }
}

void FakeExecutor::AnswerLogits(const BatchSequence& part) {
  const std::vector<int32_t>& tokens = slots_[part.slot].tokens;
  if (part.logits == LogitRows::kNone) return;
  const size_t rows = part.logits == LogitRows::kAll ? part.tokens.size() : 1;
  for (size_t row = 0; row < rows; ++row) {
    const size_t length = tokens.size() - rows + row + 1;
    std::vector<float> logits = ToyLogits(std::span(tokens).first(length), options_.vocab_size);
    if (options_.nan_after && std::find(tokens.begin(), tokens.end(), *options_.nan_after) != tokens.end()) {
      logits[logits.size() / 2] = std::numeric_limits<float>::quiet_NaN();
    }
    logits_.insert(logits_.end(), logits.begin(), logits.end());
  }
}

void FakeExecutor::Release(const Slot& slot, size_t group, const Block& block, int64_t index) {
  const auto rank = static_cast<size_t>((index + slot.shift) % options_.geometry.kvp);
  for (const int32_t page : block.pages) {
    // Pages that a newer sequence has taken are no longer this slot's.
    const auto owner = owners_[rank].find(page);
    if (owner != owners_[rank].end() && &slots_[owner->second] == &slot) owners_[rank].erase(owner);
  }
}

}  // namespace longspan
