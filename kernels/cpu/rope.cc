#include "kernels/cpu/rope.h"

#include <cstring>

#include "kernels/check.h"
#include "kernels/cpu/half.h"

namespace longspan {
namespace {

constexpr int kMaxHeadDim = 1024;

// Rotates dimension i with i + head_dim/2.
void Rotate(float* x, int head_dim, const float* cosines, const float* sines) {
  const int half = head_dim / 2;
  for (int i = 0; i < half; ++i) {
    const float a = x[i], b = x[i + half];
    x[i] = a * cosines[i] - b * sines[i];
    x[i + half] = b * cosines[i] + a * sines[i];
  }
}

template <typename T, typename Convert>
void StorePiece(std::byte* piece, int block_size, int head_dim, int row, bool pairs, const float* key,
                const float* value, Convert convert) {
  T* k = reinterpret_cast<T*>(piece);
  T* v = k + block_size * head_dim;
  for (int d = 0; d < head_dim; ++d) {
    if (pairs) {
      k[d / 2 * block_size * 2 + row * 2 + d % 2] = convert(key[d]);
      v[row / 2 * head_dim * 2 + d * 2 + row % 2] = convert(value[d]);
    } else {
      k[d * block_size + row] = convert(key[d]);
      v[row * head_dim + d] = convert(value[d]);
    }
  }
}

std::byte* PieceAddress(const KvLayer& kv, const DevicePlan& plan, int32_t block, int head) {
  const int64_t page = plan.pages[static_cast<int64_t>(block) * kv.pages_per_block + kv.page_column];
  return kv.base + static_cast<size_t>(page) * kv.page_bytes +
         static_cast<size_t>(head) * kv.layout.piece_bytes();
}

}  // namespace

void RopeAppendRows(const RopeAppendArgs& args, const KernelTable& kernels, int64_t begin, int64_t end) {
  const int d = args.head_dim;
  LONGSPAN_CHECK(d <= kMaxHeadDim);
  for (int64_t i = begin; i < end; ++i) {
    const float* row = static_cast<const float*>(args.qkv.data) + i * args.qkv.stride;
    float* queries = static_cast<float*>(args.queries.data) + i * args.queries.stride;
    const float* cosines = args.cosines + i * (d / 2);
    const float* sines = args.sines + i * (d / 2);
    // Head `head` of the row, keys following after the queries and values after the keys.
    const auto load = [&](int head, float* out) {
      const float* in = row + head * d;
      if (args.qkv_bias == nullptr) {
        std::memcpy(out, in, sizeof(float) * static_cast<size_t>(d));
      } else {
        const float* bias = args.qkv_bias + head * d;
        for (int c = 0; c < d; ++c) out[c] = in[c] + bias[c];
      }
    };
    const auto normalize_and_rotate = [&](int head, const float* norm, float* out) {
      load(head, out);
      if (norm != nullptr) {
        float x[kMaxHeadDim];
        std::memcpy(x, out, sizeof(float) * static_cast<size_t>(d));
        kernels.residual_norm(x, nullptr, nullptr, norm, args.norm_epsilon, d, out);
      }
      Rotate(out, d, cosines, sines);
    };
    for (int h = 0; h < args.heads; ++h) normalize_and_rotate(h, args.query_norm, queries + h * d);

    const KvSlot slot = args.plan.slots[i];
    if (slot.block < 0) continue;
    for (int h = 0; h < args.kv_heads; ++h) {
      float key[kMaxHeadDim], value[kMaxHeadDim];
      normalize_and_rotate(args.heads + h, args.key_norm, key);
      load(args.heads + args.kv_heads + h, value);
      std::byte* piece = PieceAddress(args.kv, args.plan, slot.block, h);
      const KvLayout& layout = args.kv.layout;
      if (layout.dtype == DType::kF32) {
        StorePiece<float>(piece, layout.block_size, d, slot.row, false, key, value,
                          [](float x) { return x; });
      } else {
        StorePiece<uint16_t>(piece, layout.block_size, d, slot.row, true, key, value, F32ToBf16);
      }
    }
  }
}

}  // namespace longspan
