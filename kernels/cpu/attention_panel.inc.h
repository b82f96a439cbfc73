// Products of attention, one source for every instruction set: c += a · b, where b is keys or values.
//
// Everything is cut into panels of 64 columns: a [rows][64] and c [rows][64] with the rows 64 floats apart,
// so that a register tile finds them at constant offsets. Each element of c is one chain of multiply-adds in
// ascending order of b's rows, whatever the tile.
#pragma once

#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/simd.h"

namespace longspan::LONGSPAN_ISA {

inline constexpr int kPanel = kAttentionPanel;
inline constexpr int kNearRows = 12;  // rows ahead that lines move from the second cache to the first

// Keys (row: dimension, column: token) or values (row: token, column: dimension) as they are stored, in bf16:
// [rows / 2][columns][2]. `next` holds what is wanted a piece later, in the same order.
struct Bf16Matrix {
  const uint16_t* p;
  int64_t columns;
  const char* next;

  // Sixteen columns of rows `row` and `row` + 1; `row` is even.
  F32 Even(int row, int vector) const { return LoadBf16Even(p + row * columns + 32 * vector); }
  F32 Odd(int row, int vector) const { return LoadBf16Odd(p + row * columns + 32 * vector); }
  [[gnu::always_inline]] void PrefetchNear(int row, int vector) const {
    LONGSPAN_ISA::Prefetch(p + row * columns + 32 * vector);
  }
  [[gnu::always_inline]] void PrefetchNext(int row, int vector) const {
    PrefetchFar(next + row * 2 * kPanel + 64 * vector);
  }
  Bf16Matrix ForRows(int) const { return *this; }
  // Rows and columns of the panel that begins at (row, column) of a matrix of `rows` rows.
  Bf16Matrix At(int row, int column, int rows) const {
    const int64_t before = row * kPanel + static_cast<int64_t>(column) * rows;
    return {p + row * columns + 2 * column, columns, next + 2 * before};
  }
};

// The same in f32: [rows][columns].
struct F32Matrix {
  const float* p;
  int64_t columns;
  const char* next;

  F32 Even(int row, int vector) const { return Load(p + row * columns + 16 * vector); }
  F32 Odd(int row, int vector) const { return Load(p + (row + 1) * columns + 16 * vector); }
  [[gnu::always_inline]] void PrefetchNear(int row, int vector) const {
    LONGSPAN_ISA::Prefetch(p + row * columns + 16 * vector);
    LONGSPAN_ISA::Prefetch(p + (row + 1) * columns + 16 * vector);
  }
  [[gnu::always_inline]] void PrefetchNext(int row, int vector) const {
    const char* far = next + row * 4 * kPanel + 128 * vector;
    PrefetchFar(far);
    PrefetchFar(far + 64);
  }
  F32Matrix ForRows(int) const { return *this; }
  F32Matrix At(int row, int column, int rows) const {
    const int64_t before = row * kPanel + static_cast<int64_t>(column) * rows;
    return {p + row * columns + column, columns, next + 4 * before};
  }
};

// A copy of up to 64 rows of one panel in f32, in the first cache. Meanwhile the piece after comes nearer:
// each product of rows with the panel fetches one part of what is wanted of it.
struct PanelMatrix {
  const float* p;
  const char* next;
  int next_bytes;

  F32 Even(int row, int vector) const { return Load(p + row * kPanel + 16 * vector); }
  F32 Odd(int row, int vector) const { return Load(p + (row + 1) * kPanel + 16 * vector); }
  [[gnu::always_inline]] void PrefetchNear(int row, int vector) const {}
  [[gnu::always_inline]] void PrefetchNext(int row, int vector) const {
    if (vector == 0) PrefetchFar(next + row * 32);
  }
  // For the products of rows from `first_row` on.
  PanelMatrix ForRows(int first_row) const {
    constexpr int kPartBytes = 32 * kPanel;  // a line for every two rows
    const int part = first_row / kTileRows * kPartBytes;
    return {p, part < next_bytes ? next + part : reinterpret_cast<const char*>(p), next_bytes};
  }
};

template <typename Matrix>
inline PanelMatrix CopyPanel(const Matrix& matrix, int rows, int vectors, float* panel) {
  for (int row = 0; row < rows; row += 2) {
    for (int i = 0; i < vectors; ++i) {
      matrix.PrefetchNear(row + kNearRows < rows ? row + kNearRows : row, i);
      Store(panel + row * kPanel + 16 * i, matrix.Even(row, i));
      Store(panel + (row + 1) * kPanel + 16 * i, matrix.Odd(row, i));
    }
  }
  return {panel, matrix.next, rows * vectors * 16 * static_cast<int>(sizeof *matrix.p)};
}

// c[r][vectors from `vector`] += sum over k in [begin, end) of a[r][k] * b[k]; c counts as zero if `fresh`.
// begin and end are even.
template <int kRows, int kVectors, typename Matrix>
[[gnu::noinline]] inline void MultiplyTile(const float* a, Matrix b, int vector, int begin, int end,
                                           bool fresh, float* c) {
  F32 sums[kRows][kVectors];
  c += 16 * vector;
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) sums[r][i] = fresh ? Zero() : Load(c + r * kPanel + 16 * i);
  }
  for (int k = begin; k < end; k += 2) {
    const int near = k + kNearRows < end ? k + kNearRows : end - 2;
    F32 row[kVectors];
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) {
      b.PrefetchNear(near, vector + i);
      b.PrefetchNext(k, vector + i);
      row[i] = b.Even(k, vector + i);
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const F32 x = Set1(a[r * kPanel + k]);
#pragma GCC unroll 4
      for (int i = 0; i < kVectors; ++i) sums[r][i] = Fma(x, row[i], sums[r][i]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) row[i] = b.Odd(k, vector + i);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const F32 x = Set1(a[r * kPanel + k + 1]);
#pragma GCC unroll 4
      for (int i = 0; i < kVectors; ++i) sums[r][i] = Fma(x, row[i], sums[r][i]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; ++i) Store(c + r * kPanel + 16 * i, sums[r][i]);
  }
}

template <int kRows, typename Matrix>
inline void MultiplyRows(const float* a, const Matrix& b, int first_vector, int last_vector, int begin,
                         int end, bool fresh, float* c) {
  constexpr int kMost = kRows > kTileRows ? kTileVectors / 2 : kTileVectors;
  int i = first_vector;
  for (; i + kMost <= last_vector; i += kMost) {
    MultiplyTile<kRows, kMost>(a, b, i, begin, end, fresh, c);
  }
  if constexpr (kMost > 2) {
    for (; i + 2 <= last_vector; i += 2) MultiplyTile<kRows, 2>(a, b, i, begin, end, fresh, c);
  }
  if constexpr (kMost > 1) {
    if (i < last_vector) MultiplyTile<kRows, 1>(a, b, i, begin, end, fresh, c);
  }
}

// The next number of rows that a tile takes where `rows` are left. Eight rows read a matrix once, in tiles
// half as wide.
inline int RowsAtOnce(int rows) {
  if (rows == 8 && kTileVectors > 1) return 8;
  for (int n : {6, 4, 2}) {
    if (n <= kTileRows && rows >= n) return n;
  }
  return 1;
}

template <int kValue>
struct Constant {
  static constexpr int value = kValue;
};

// rows = RowsAtOnce(…)
template <typename Matrix>
inline void Multiply(int rows, const float* a, const Matrix& b, int first_vector, int last_vector, int begin,
                     int end, bool fresh, float* c) {
  const auto multiply = [&](auto n) {
    MultiplyRows<decltype(n)::value>(a, b, first_vector, last_vector, begin, end, fresh, c);
  };
  if constexpr (kTileVectors > 1) {
    if (rows == 8) return multiply(Constant<8>());
  }
  if constexpr (kTileRows >= 6) {
    if (rows == 6) return multiply(Constant<6>());
  }
  if constexpr (kTileRows >= 4) {
    if (rows == 4) return multiply(Constant<4>());
  }
  if (rows == 2) return multiply(Constant<2>());
  multiply(Constant<1>());
}

// One row of c, any begin and end.
template <typename Matrix>
[[gnu::noinline]] inline void MultiplyOneRow(const float* a, const Matrix& b, int vectors, int begin, int end,
                                             float* c) {
  for (int i = 0; i < vectors; ++i) {
    F32 sum = Load(c + 16 * i);
    for (int k = begin; k < end; ++k) {
      sum = Fma(Set1(a[k]), k % 2 == 0 ? b.Even(k, i) : b.Odd(k - 1, i), sum);
    }
    Store(c + 16 * i, sum);
  }
}

}  // namespace longspan::LONGSPAN_ISA
