#include "tests/kernels/attention_pipeline.h"

#include <algorithm>
#include <cmath>

#include "tests/kernels/paged_kv.h"
#include "tests/support/random_values.h"

namespace longspan {
namespace {

struct HeldBlocks {
  std::vector<int64_t> indices;
  std::vector<int32_t> pages;
};

// One rank's memory, and which blocks of each sequence are in it.
struct SimulatedRank {
  KvLayer kv;
  std::vector<HeldBlocks> blocks;  // by sequence
};

struct BatchSequence {
  int64_t sequence = 0, first_row = 0, rows = 0, first_position = 0;
};

class Pipeline {
 public:
  Pipeline(TestDevice& device, const PipelineInput& input, const PipelineLayout& layout);
  std::vector<float> Run();

 private:
  int64_t QkvWidth() const { return (input_.heads + 2 * input_.kv_heads) * input_.head_dim; }
  int64_t Width() const { return input_.heads * input_.head_dim; }
  // Which of the residues modulo kvp this rank holds of a sequence: block i is on rank (i + shift) mod kvp.
  int Residue(int rank, int64_t sequence) const {
    const int64_t shift = layout_.shift + sequence;
    return static_cast<int>(((rank - shift) % layout_.kvp + layout_.kvp) % layout_.kvp);
  }

  std::vector<BatchSequence> NextBatch(int64_t step);
  std::vector<float> RowsOf(const std::vector<BatchSequence>& batch, const std::vector<float>& table,
                            int64_t width) const;
  AttentionPlan Plan(int rank, const std::vector<BatchSequence>& batch, int64_t rows);
  std::vector<float> RankPartials(int rank, const std::vector<BatchSequence>& batch, int64_t rows);
  std::vector<float> MergeSlices(const std::vector<std::vector<float>>& packed,
                                 const std::vector<BatchSequence>& batch, int64_t rows);

  TestDevice& device_;
  const PipelineInput& input_;
  const PipelineLayout& layout_;
  std::vector<HeadSlice> slices_;
  std::vector<int64_t> first_token_;  // of each sequence in the tables
  std::vector<int64_t> done_;         // tokens of each sequence
  std::vector<float> qkv_, cosines_, sines_;
  float* query_norm_ = nullptr;
  float* key_norm_ = nullptr;
  std::vector<PagedKv> memories_;
  std::vector<SimulatedRank> ranks_;
};

Pipeline::Pipeline(TestDevice& device, const PipelineInput& input, const PipelineLayout& layout)
    : device_(device), input_(input), layout_(layout), done_(input.lengths.size()) {
  int64_t tokens = 0, blocks = 0;
  for (int64_t length : input.lengths) {
    first_token_.push_back(tokens);
    tokens += length;
    blocks += (length + input.block_size - 1) / input.block_size;
  }
  RandomValues random(input.seed);
  qkv_ = random.Floats(tokens * QkvWidth(), 2);
  for (int64_t length : input.lengths) {
    for (int64_t i = 0; i < length * input.head_dim / 2; ++i) {
      const double angle = 3.0 * static_cast<double>(random.Signed());
      cosines_.push_back(static_cast<float>(std::cos(angle)));
      sines_.push_back(static_cast<float>(std::sin(angle)));
    }
  }
  const std::vector<float> query_norm = random.Floats(input.head_dim, 2);
  const std::vector<float> key_norm = random.Floats(input.head_dim, 2);
  if (input.normed) {
    query_norm_ = device.Upload(query_norm);
    key_norm_ = device.Upload(key_norm);
  }
  int64_t begin = 0;
  for (int64_t end : layout.slice_ends) {
    slices_.push_back({begin, end});
    begin = end;
  }
  if (begin < Width()) slices_.push_back({begin, Width()});
  const KvLayout kv_layout = {input.block_size, input.head_dim, input.kv_heads, input.kv_dtype};
  for (int rank = 0; rank < layout.kvp; ++rank) {
    memories_.emplace_back(kv_layout, static_cast<int32_t>(blocks), layout.pages_per_block,
                           layout.page_column, random.Bits());
    ranks_.push_back({memories_.back().Upload(device), std::vector<HeldBlocks>(input.lengths.size())});
  }
}

std::vector<BatchSequence> Pipeline::NextBatch(int64_t step) {
  std::vector<BatchSequence> batch;
  int64_t row = 0;
  for (size_t s = 0; s < done_.size(); ++s) {
    int64_t rows = input_.lengths[s] - done_[s];
    if (!layout_.chunks.empty()) {
      rows = std::min(rows, layout_.chunks[(static_cast<size_t>(step) + s) % layout_.chunks.size()]);
    }
    if (rows == 0) continue;
    batch.push_back({static_cast<int64_t>(s), row, rows, done_[s]});
    done_[s] += rows;
    row += rows;
  }
  return batch;
}

std::vector<float> Pipeline::RowsOf(const std::vector<BatchSequence>& batch, const std::vector<float>& table,
                                    int64_t width) const {
  std::vector<float> rows;
  for (const BatchSequence& b : batch) {
    const auto first =
        table.begin() + (first_token_[static_cast<size_t>(b.sequence)] + b.first_position) * width;
    rows.insert(rows.end(), first, first + b.rows * width);
  }
  return rows;
}

AttentionPlan Pipeline::Plan(int rank, const std::vector<BatchSequence>& batch, int64_t rows) {
  SimulatedRank& memory = ranks_[static_cast<size_t>(rank)];
  std::vector<AttentionSequence> sequences;
  for (const BatchSequence& b : batch) {
    HeldBlocks& held = memory.blocks[static_cast<size_t>(b.sequence)];
    const int residue = Residue(rank, b.sequence);
    const int64_t last = (b.first_position + b.rows - 1) / input_.block_size;
    int64_t next = held.indices.empty() ? residue : held.indices.back() + layout_.kvp;
    for (; next <= last; next += layout_.kvp) {
      held.indices.push_back(next);
      memories_[static_cast<size_t>(rank)].AddBlock(held.pages);
    }
    sequences.push_back({b.first_row, b.rows, b.first_position, held.indices, held.pages, residue});
  }
  AttentionPlanOptions options;
  options.block_size = input_.block_size;
  options.window = input_.window;
  options.ways = layout_.ways;
  options.kvp = layout_.kvp;
  options.pages_per_block = layout_.pages_per_block;
  options.max_tile_rows = layout_.max_tile_rows;
  options.min_items = layout_.min_items;
  return PlanAttention(sequences, rows, options);
}

// What one rank sends: all slices, packed.
std::vector<float> Pipeline::RankPartials(int rank, const std::vector<BatchSequence>& batch, int64_t rows) {
  const AttentionPlan plan = Plan(rank, batch, rows);
  const DevicePlan device_plan = UploadPlan(device_, plan, input_.window);
  const KvLayer& kv = ranks_[static_cast<size_t>(rank)].kv;
  Backend& backend = device_.backend();
  const int d = input_.head_dim;

  RopeAppendArgs append;
  append.qkv = device_.UploadMatrix(RowsOf(batch, qkv_, QkvWidth()), rows, QkvWidth());
  append.heads = input_.heads;
  append.kv_heads = input_.kv_heads;
  append.head_dim = d;
  append.query_norm = query_norm_;
  append.key_norm = key_norm_;
  append.norm_epsilon = 1e-6f;
  append.cosines = device_.Upload(RowsOf(batch, cosines_, d / 2));
  append.sines = device_.Upload(RowsOf(batch, sines_, d / 2));
  append.plan = device_plan;
  append.kv = kv;
  append.queries = device_.AllocateMatrix(rows, Width());
  backend.RopeAppend(device_.stream(), append);

  AttentionArgs attend;
  attend.queries = append.queries;
  attend.heads = input_.heads;
  attend.query_scale = 1 / std::sqrt(static_cast<float>(d));
  attend.kv = kv;
  attend.plan = device_plan;
  attend.partials = device_.AllocateMatrix(rows, Width());
  attend.lse = device_.AllocateMatrix(rows, input_.heads);
  attend.split_space =
      device_.Allocate<float>(static_cast<size_t>(plan.splits * rows * input_.heads * (d + 1)));
  backend.PagedAttention(device_.stream(), attend);

  int64_t floats = 0;
  for (const HeadSlice& slice : slices_) floats += rows * (slice.width() + slice.NumHeads(d));
  float* packed = device_.Allocate<float>(static_cast<size_t>(floats));
  backend.PackPartials(device_.stream(), attend.partials, attend.lse, d, slices_, packed);
  return device_.Download(packed, static_cast<size_t>(floats));
}

// The all-to-all, the merge of each slice, and the slices side by side.
std::vector<float> Pipeline::MergeSlices(const std::vector<std::vector<float>>& packed,
                                         const std::vector<BatchSequence>& batch, int64_t rows) {
  std::vector<int32_t> shifts;
  for (const BatchSequence& b : batch) {
    shifts.insert(shifts.end(), static_cast<size_t>(b.rows),
                  static_cast<int32_t>((layout_.shift + b.sequence) % layout_.kvp));
  }
  const int32_t* device_shifts = device_.Upload(shifts);
  float* merged = device_.Allocate<float>(static_cast<size_t>(rows * Width()));
  std::vector<int64_t> widths;
  int64_t at = 0, column = 0;
  for (const HeadSlice& slice : slices_) {
    const int64_t floats = rows * (slice.width() + slice.NumHeads(input_.head_dim));
    std::vector<float> received;
    for (const std::vector<float>& sent : packed) {
      received.insert(received.end(), sent.begin() + at, sent.begin() + at + floats);
    }
    const Tensor out = MakeTensor(merged + rows * column, DType::kF32, rows, slice.width());
    device_.backend().MergePartials(device_.stream(), device_.Upload(received), layout_.kvp, slice,
                                    input_.head_dim, device_shifts, out);
    widths.push_back(slice.width());
    at += floats;
    column += slice.width();
  }
  const Tensor out = device_.AllocateMatrix(rows, Width());
  device_.backend().InterleaveColumns(device_.stream(), merged, widths, out);
  return device_.DownloadMatrix(out);
}

std::vector<float> Pipeline::Run() {
  std::vector<float> result(qkv_.size() / static_cast<size_t>(QkvWidth()) * static_cast<size_t>(Width()));
  const size_t mark = device_.Mark();
  for (int64_t step = 0;; ++step) {
    const std::vector<BatchSequence> batch = NextBatch(step);
    if (batch.empty()) return result;
    const int64_t rows = batch.back().first_row + batch.back().rows;
    std::vector<std::vector<float>> packed;
    for (int rank = 0; rank < layout_.kvp; ++rank) packed.push_back(RankPartials(rank, batch, rows));
    const std::vector<float> out = MergeSlices(packed, batch, rows);
    for (const BatchSequence& b : batch) {
      const int64_t token = first_token_[static_cast<size_t>(b.sequence)] + b.first_position;
      std::copy_n(out.begin() + b.first_row * Width(), b.rows * Width(), result.begin() + token * Width());
    }
    device_.FreeAfter(mark);
  }
}

}  // namespace

std::vector<float> RunPipeline(TestDevice& device, const PipelineInput& input, const PipelineLayout& layout) {
  const size_t mark = device.Mark();
  std::vector<float> result = Pipeline(device, input, layout).Run();
  device.FreeAfter(mark);
  return result;
}

}  // namespace longspan
