// The product with the recurrent weight, which every step of a layer multiplies by again.
//
// The weight is laid out once, in panels of as many columns as two registers hold, so that a step reads it from front
// to back; six rows at a time share what is read, which fills the registers of AVX2. An element is the sum of its terms
// in the order of their indices, whatever the number of rows, threads or steps: a stream equals the whole, and a case
// equals itself in another batch, bit for bit. BLAS promises neither, and lays the weight out again in every call.

#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "rows.h"
#include "threads.h"

namespace atn {

template <typename S>
class Panels {
 public:
  // The weight is (inner, columns), its element (i, j) at data[i * inner_stride + j * column_stride]. For a single
  // product a piece of a panel is laid out where it is needed, in the first cache, and not kept.
  struct Weight {
    const S* data;
    int64_t inner, columns;
    int64_t inner_stride, column_stride;
    int64_t products;
  };

  explicit Panels(const Weight& weight)
      : weight_(weight.data),
        inner_(weight.inner),
        columns_(weight.columns),
        inner_stride_(weight.inner_stride),
        column_stride_(weight.column_stride),
        kept_(weight.products > 1 ? at::empty({count(), inner_, WIDTH}, c10::CppTypeToScalarType<S>::value)
                                  : at::Tensor()) {
    if (!kept_.defined()) return;
    at::parallel_for(0, count(), 1 + (1 << 16) / (inner_ * WIDTH), [&](int64_t from, int64_t to) {
      for (int64_t p = from; p < to; ++p) lay_out(p, {0, inner_}, kept(p));
    });
  }

  Range all() const { return {0, count()}; }

  // out (rows, columns) = x (rows, inner) @ weight, the columns of some panels.
  void times(const S* x, S* out, int64_t rows, Range panels) const {
    S once[DEPTH * WIDTH];
    for (int64_t p = panels.from; p < panels.to; ++p) {
      for (int64_t i = 0; i < inner_; i += DEPTH) {
        const int64_t columns = std::min(WIDTH, columns_ - p * WIDTH), depth = std::min(DEPTH, inner_ - i);
        if (!kept_.defined()) lay_out(p, {i, i + depth}, once);
        const Piece piece{kept_.defined() ? kept(p) + i * WIDTH : once, depth, columns, i > 0};
        if (columns <= LANES)
          blocks<1>(piece, x + i, out + p * WIDTH, rows);
        else
          blocks<2>(piece, x + i, out + p * WIDTH, rows);
      }
    }
  }

 private:
  static constexpr int LANES = Vec<S>::size();
  static constexpr int64_t WIDTH = 2 * LANES;
  static constexpr int ROWS = 6;
  // Terms added up in registers, of a piece of a panel that stays in the first cache. Sums of sums also keep digits.
  static constexpr int64_t DEPTH = 256;

  // The compiler's own vectors, since it keeps arrays of them in registers.
  using Lanes [[gnu::vector_size(sizeof(Vec<S>))]] = S;
  using Unaligned [[gnu::vector_size(sizeof(Vec<S>)), gnu::aligned(alignof(S)), gnu::may_alias]] = S;

  struct Piece {
    const S* weight;  // (depth, WIDTH)
    int64_t depth;
    int64_t columns;  // at most WIDTH
    bool add;         // to what is there already
  };

  int64_t count() const { return (columns_ + WIDTH - 1) / WIDTH; }
  S* kept(int64_t p) const { return kept_.template data_ptr<S>() + p * inner_ * WIDTH; }

  // Some of the rows of a panel, one behind the other. Whole squares of the weight go through registers.
  void lay_out(int64_t p, Range rows, S* panel) const {
    const int64_t columns = std::min(WIDTH, columns_ - p * WIDTH);
    const S* from = weight_ + p * WIDTH * column_stride_ + rows.from * inner_stride_;
    int64_t i = 0;
    if (columns == WIDTH && column_stride_ == 1)
      for (; i < rows.count(); ++i) std::memcpy(panel + i * WIDTH, from + i * inner_stride_, sizeof(S) * WIDTH);
    if (columns == WIDTH && inner_stride_ == 1)
      for (; i + LANES <= rows.count(); i += LANES)
        for (int64_t j = 0; j < WIDTH; j += LANES)
          at::vec::transpose_mxn<S, LANES, LANES>(from + i + j * column_stride_, column_stride_,
                                                  panel + i * WIDTH + j, WIDTH);
    for (; i < rows.count(); ++i)
      for (int64_t j = 0; j < WIDTH; ++j)
        panel[i * WIDTH + j] = j < columns ? from[i * inner_stride_ + j * column_stride_] : S(0);
  }

  static Lanes read(const S* p) { return *reinterpret_cast<const Unaligned*>(p); }
  static void write(Lanes v, S* p) { *reinterpret_cast<Unaligned*>(p) = v; }

  // All rows, V vectors of a panel: the last one may have columns for one only.
  template <int V>
  void blocks(const Piece& piece, const S* x, S* out, int64_t rows) const {
    int64_t row = 0;
    for (; row + ROWS <= rows; row += ROWS) block<ROWS, V>(piece, x + row * inner_, out + row * columns_);
    rest<ROWS - 1, V>(rows - row, piece, x + row * inner_, out + row * columns_);
  }

  template <int R, int V>
  void rest(int64_t rows, const Piece& piece, const S* x, S* out) const {
    if constexpr (R > 0) {
      if (rows == R)
        block<R, V>(piece, x, out);
      else
        rest<R - 1, V>(rows, piece, x, out);
    }
  }

  // R rows.
  template <int R, int V>
  void block(const Piece& piece, const S* x, S* out) const {
    Lanes sums[R][V] = {};
    const S* weight = piece.weight;
    for (int64_t i = 0; i < piece.depth; ++i, weight += WIDTH) {
      Lanes vectors[V];
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) vectors[v] = read(weight + v * LANES);
#pragma GCC unroll 8
      for (int row = 0; row < R; ++row) {
        const S a = x[row * inner_ + i];
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) sums[row][v] += a * vectors[v];
      }
    }
    if (piece.columns == V * LANES) {
      finish(sums, piece.add, out, columns_);
    } else {
      S edge[R * V * LANES] = {};
      const size_t bytes = piece.columns * sizeof(S);
      for (int row = 0; row < R && piece.add; ++row) std::memcpy(edge + row * V * LANES, out + row * columns_, bytes);
      finish(sums, piece.add, edge, V * LANES);
      for (int row = 0; row < R; ++row) std::memcpy(out + row * columns_, edge + row * V * LANES, bytes);
    }
  }

  template <int R, int V>
  static void finish(Lanes (&sums)[R][V], bool add, S* out, int64_t stride) {
#pragma GCC unroll 8
    for (int row = 0; row < R; ++row, out += stride) {
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) {
        if (add) sums[row][v] += read(out + v * LANES);
        write(sums[row][v], out + v * LANES);
      }
    }
  }

  const S* weight_;
  int64_t inner_, columns_, inner_stride_, column_stride_;
  at::Tensor kept_;  // (panels, inner, WIDTH), or undefined
};

}  // namespace atn
