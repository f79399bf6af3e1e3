// Blocks of a matrix product that are added up in registers: R rows of V vectors. Six rows of two vectors fill the
// registers of AVX2.

#pragma once

#include <cstdint>
#include <cstring>

#include "rows.h"

namespace atn {

template <typename S>
struct Blocks {
  static constexpr int LANES = Vec<S>::size();
  static constexpr int64_t WIDTH = 2 * LANES;  // of a panel
  static constexpr int ROWS = sizeof(Vec<S>) == 64 ? 8 : 6;

  // The compiler's own vectors, since it keeps arrays of them in registers.
  using Lanes [[gnu::vector_size(sizeof(Vec<S>))]] = S;
  using Unaligned [[gnu::vector_size(sizeof(Vec<S>)), gnu::aligned(alignof(S)), gnu::may_alias]] = S;

  template <int R, int V>
  using Block = Lanes[R][V];

  static Lanes read(const S* p) { return *reinterpret_cast<const Unaligned*>(p); }
  static void write(Lanes v, S* p) { *reinterpret_cast<Unaligned*>(p) = v; }

  // Adds `depth` terms in the order of their indices: factor (row, i), at factors[row * row_stride + i * term_stride],
  // times row i of the panel.
  template <int R, int V>
  static void add_terms(Block<R, V>& sums, const S* factors, int64_t row_stride, int64_t term_stride, const S* panel,
                        int64_t depth) {
    for (int64_t i = 0; i < depth; ++i, panel += WIDTH) {
      Lanes vectors[V];
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) vectors[v] = read(panel + v * LANES);
#pragma GCC unroll 12
      for (int row = 0; row < R; ++row) {
        const S factor = factors[row * row_stride + i * term_stride];
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) sums[row][v] += factor * vectors[v];
      }
    }
  }

  // Writes a block, of which the last vector may be partial, to rows that are `stride` apart, or adds it to them.
  template <int R, int V>
  static void finish(Block<R, V>& sums, bool add, S* out, int64_t stride, int64_t columns) {
    if (columns == V * LANES) {
      finish_whole(sums, add, out, stride);
      return;
    }
    S edge[R * V * LANES] = {};
    const size_t bytes = columns * sizeof(S);
    for (int row = 0; row < R && add; ++row) std::memcpy(edge + row * V * LANES, out + row * stride, bytes);
    finish_whole(sums, add, edge, V * LANES);
    for (int row = 0; row < R; ++row) std::memcpy(out + row * stride, edge + row * V * LANES, bytes);
  }

  // Calls body.operator()<R, V>(row) for blocks of about equally many rows, and of as many vectors as the columns need.
  template <typename F>
  static void for_blocks(int64_t rows, int64_t columns, const F& body) {
    const int64_t count = (rows + ROWS - 1) / ROWS;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t row = i * rows / count;
      with_size<ROWS>((i + 1) * rows / count - row, columns, [&]<int R, int V>() { body.template operator()<R, V>(row); });
    }
  }

 private:
  template <int R, typename F>
  static void with_size(int64_t rows, int64_t columns, const F& body) {
    if constexpr (R > 0) {
      if (rows < R)
        with_size<R - 1>(rows, columns, body);
      else if (columns <= LANES)
        body.template operator()<R, 1>();
      else
        body.template operator()<R, 2>();
    }
  }

  template <int R, int V>
  static void finish_whole(Block<R, V>& sums, bool add, S* out, int64_t stride) {
#pragma GCC unroll 12
    for (int row = 0; row < R; ++row, out += stride) {
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) {
        if (add) sums[row][v] += read(out + v * LANES);
        write(sums[row][v], out + v * LANES);
      }
    }
  }
};

}  // namespace atn
