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

#include "blocks.h"
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
        const S* panel = kept_.defined() ? kept(p) + i * WIDTH : once;
        Blocks<S>::for_blocks(rows, columns, [&]<int R, int V>(int64_t row) {
          typename Blocks<S>::template Block<R, V> sums = {};
          Blocks<S>::add_terms(sums, x + row * inner_ + i, inner_, 1, panel, depth);
          Blocks<S>::finish(sums, i > 0, out + row * columns_ + p * WIDTH, columns_, columns);
        });
      }
    }
  }

  // The same for all columns and many rows, shared out among threads, some at a time that stay in the second cache.
  void times_in_parts(const S* x, S* out, int64_t rows) const {
    constexpr int64_t some = 64;
    const int64_t count = (rows + some - 1) / some;
    in_parts(count, parts_of(count), [&](int64_t, Range range) {
      for (int64_t row = range.from * some; row < std::min(range.to * some, rows); row += some)
        times(x + row * inner_, out + row * columns_, std::min(some, rows - row), all());
    });
  }

 private:
  static constexpr int LANES = Blocks<S>::LANES;
  static constexpr int64_t WIDTH = Blocks<S>::WIDTH;
  // Terms added up in registers, of a piece of a panel that stays in the first cache. Sums of sums also keep digits.
  static constexpr int64_t DEPTH = 256;

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

  const S* weight_;
  int64_t inner_, columns_, inner_stride_, column_stride_;
  at::Tensor kept_;  // (panels, inner, WIDTH), or undefined
};

}  // namespace atn
