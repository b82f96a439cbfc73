// The operations of a decoder on one device. One instance drives one rank's device.
//
// Every operation is launched on a stream and returns at once; arguments are device addresses (Tensor, device
// arrays) or values that the call copies. Results of a row depend on that row alone: never on the other rows
// of the call, the number of threads or the sharding (see numerics.h). A Tensor may have zero rows or
// columns. Wrong shapes are bugs (CHECK). Threads: one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "kernels/attention_plan.h"
#include "kernels/device.h"
#include "kernels/dtype.h"
#include "kernels/numerics.h"
#include "kernels/tensor.h"

namespace longspan {

// A part of a matrix in a model file.
struct WeightSlice {
  DType dtype = DType::kF32;
  const std::byte* data = nullptr;           // host memory: the whole matrix, row-major
  int64_t file_columns = 0;                  // of the whole matrix
  std::span<const int32_t> row_order;        // logical row to file row; empty = identity
  int64_t row_begin = 0, row_end = 0;        // logical rows to keep: outputs of the product
  int64_t column_begin = 0, column_end = 0;  // columns to keep; begins on a group of 32
  // Ends of the leaves within the slice, in groups of 32, ascending; the last is the slice's number of
  // groups. Their count is a power of two, or one. Each leaf is summed alone, then leaves are added as
  // neighbours.
  std::vector<int64_t> leaf_ends;
};

// A weight in the backend's own layout. Freed when destroyed.
class Weight {
 public:
  virtual ~Weight() = default;
  virtual int64_t rows() const = 0;     // outputs
  virtual int64_t columns() const = 0;  // inputs
  virtual size_t bytes() const = 0;
};

// Shape of the paged KV memory of one rank. All layer groups share one pool of equal pages: a page holds one
// block for a fixed number of layers, so a block of a layer group is one page or several, not necessarily
// neighbours.
struct KvLayout {
  int block_size = 64;
  int head_dim = 0;
  int kv_heads = 0;  // of this rank
  DType dtype = DType::kBF16;

  // One piece: K as [head_dim/2][block_size][2] then V as [block_size/2][head_dim][2] for 2-byte types; for
  // F32 K as [head_dim][block_size] then V as [block_size][head_dim]. This is the canonical byte order of a
  // piece.
  size_t piece_bytes() const {
    return 2 * static_cast<size_t>(block_size) * static_cast<size_t>(head_dim) *
           static_cast<size_t>(Traits(dtype).block_bytes);
  }
  size_t layer_bytes() const { return piece_bytes() * static_cast<size_t>(kv_heads); }
};

// The KV of one layer. The piece of KV head h of block b of a plan lies at
// base + pages[b * pages_per_block + page_column] * page_bytes + h * piece_bytes.
struct KvLayer {
  std::byte* base = nullptr;  // device address of page 0, plus the layer's offset within its page
  size_t page_bytes = 0;
  int pages_per_block = 1;
  int page_column = 0;  // which of a block's pages holds this layer
  KvLayout layout;
};

// An attention plan on the device, with the sizes that launching needs.
struct DevicePlan {
  const int64_t* blocks = nullptr;
  const int32_t* pages = nullptr;
  const AttentionClass* classes = nullptr;
  const AttentionItem* items = nullptr;
  const KvSlot* slots = nullptr;
  int64_t num_items = 0;
  int splits = 0;
  int64_t window = 0;
};

struct RopeAppendArgs {
  Tensor qkv;                       // f32 [n, (heads + 2 kv_heads) * head_dim]
  const float* qkv_bias = nullptr;  // device, one for each column of qkv; null = none
  int heads = 0, kv_heads = 0, head_dim = 0;
  const float* query_norm = nullptr;  // device [head_dim]; null = no norm
  const float* key_norm = nullptr;    // device [head_dim]
  float norm_epsilon = 0;
  const float* cosines = nullptr;  // device [n, head_dim/2]
  const float* sines = nullptr;    // device [n, head_dim/2]
  DevicePlan plan;
  KvLayer kv;
  Tensor queries;  // out, f32 [n, heads * head_dim]
};

struct AttentionArgs {
  Tensor queries;  // f32 [n, heads * head_dim]
  int heads = 0;
  float query_scale = 1;
  float score_cap = 0;  // c > 0: a scaled score s becomes c * tanh(s / c), as in Gemma 2 (arXiv 2408.00118)
  KvLayer kv;
  DevicePlan plan;
  Tensor partials;  // out, f32 [n, heads * head_dim]: normalised over this rank's keys
  Tensor lse;       // out, f32 [n, heads]: log-sum-exp of the scores; -inf where there was no key
  // Work space for split items: f32 [splits * n * heads * (head_dim + 1)].
  float* split_space = nullptr;
};

// A range of columns of the concatenated head outputs.
struct HeadSlice {
  int64_t begin = 0, end = 0;
  int64_t width() const { return end - begin; }
  int64_t FirstHead(int head_dim) const { return begin / head_dim; }
  int64_t NumHeads(int head_dim) const {
    return width() == 0 ? 0 : (end + head_dim - 1) / head_dim - begin / head_dim;
  }
};

class Backend {
 public:
  virtual ~Backend() = default;

  virtual Device& device() = 0;
  virtual int threads() const = 0;

  // Computation of the host between operations: calls body(index, thread) for each index of [0, count) on the
  // host's threads, thread < threads(), in the usual floating-point mode. Returns when all are done.
  virtual void HostFor(int64_t count, absl::FunctionRef<void(int64_t index, int thread)> body) = 0;

  // Copies and repacks. Never rounds; needs at most 1.1 times the slice's bytes in the file.
  virtual absl::StatusOr<std::unique_ptr<Weight>> LoadWeight(const WeightSlice& slice) = 0;

  // out[i] = scale * row ids[i] of the table. ids: device int32 [out.rows], each within the table.
  virtual void Embed(Stream& stream, const Weight& table, const int32_t* ids, float scale, Tensor out) = 0;

  // x += update, or x += rms_norm(update) * post_norm where post_norm is not null; an empty update adds
  // nothing. Then out = rms_norm(x) * norm. x, update, out: f32 [n, hidden]; norms: device f32 [hidden].
  virtual void ResidualNorm(Stream& stream, Tensor x, Tensor update, const float* post_norm,
                            const float* norm, float epsilon, Tensor out) = 0;

  // outs[i] = x · weights[i]ᵀ, f32. All weights have x.columns columns.
  virtual void Linear(Stream& stream, std::span<const Weight* const> weights, Tensor x,
                      std::span<const Tensor> outs) = 0;

  // out = activation(gate) * up, elementwise. All f32 [n, w].
  virtual void GatedActivation(Stream& stream, bool gelu_tanh, Tensor gate, Tensor up, Tensor out) = 0;

  // Adds the bias, normalises and rotates queries and keys, and writes keys and values of owned rows to their
  // pages.
  virtual void RopeAppend(Stream& stream, const RopeAppendArgs& args) = 0;

  // Attention of the rows over this rank's blocks, masked by position and window.
  virtual void PagedAttention(Stream& stream, const AttentionArgs& args) = 0;

  // For each slice: [n, width] of the partials, then [n, heads touched] of the lse, one after the other.
  virtual void PackPartials(Stream& stream, Tensor partials, Tensor lse, int head_dim,
                            std::span<const HeadSlice> slices, float* packed) = 0;

  // Merges what the kvp ranks sent for one slice, received[k] = [n, width] and [n, heads touched] of rank k,
  // in the order of residues: rank k holds residue (k - shifts[row]) mod parts. shifts: device int32 [n].
  // out: [n, width].
  virtual void MergePartials(Stream& stream, const float* received, int parts, HeadSlice slice, int head_dim,
                             const int32_t* shifts, Tensor out) = 0;

  // parts: [rows, widths[0]], [rows, widths[1]], … one after the other → out [rows, sum of widths].
  virtual void InterleaveColumns(Stream& stream, const float* parts, std::span<const int64_t> widths,
                                 Tensor out) = 0;

  // out[i] = x[index[i]] and out[index[i]] = x[i]. index: device int32.
  virtual void GatherRows(Stream& stream, Tensor x, const int32_t* index, Tensor out) = 0;
  virtual void ScatterRows(Stream& stream, Tensor x, const int32_t* index, Tensor out) = 0;

  // x = cap * tanh(x / cap), elementwise. x: f32 [n, w]; cap > 0.
  virtual void SoftCap(Stream& stream, Tensor x, float cap) = 0;

  // out[j] = sum over i of parts[i * elements + j], added as a binary tree over neighbours.
  virtual void SumParts(Stream& stream, const float* parts, int count, int64_t elements, float* out) = 0;
};

}  // namespace longspan
