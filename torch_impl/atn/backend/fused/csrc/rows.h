// Rows of numbers, vectorised.
//
// A row is contiguous; only its last vector may be partial. S is float or double.

#pragma once

#include <ATen/cpu/vec/vec.h>

#include <cstdint>

namespace atn {

template <typename S>
using Vec = at::vec::Vectorized<S>;

// Calls body(offset, count) for the vectors of a row of n elements; only the last may be partial.
template <typename S, typename F>
inline void for_vectors(int64_t n, const F& body) {
  constexpr int64_t width = Vec<S>::size();
  int64_t j = 0;
  for (; j + width <= n; j += width) body(j, width);
  if (j < n) body(j, n - j);
}

template <typename S>
inline Vec<S> load(const S* p, int64_t count) {
  return count == Vec<S>::size() ? Vec<S>::loadu(p) : Vec<S>::loadu(p, count);
}

template <typename S>
inline void store(Vec<S> v, S* p, int64_t count) {
  v.store(p, static_cast<int>(count));
}

template <typename S>
inline S sum(Vec<S> v) {
  S lanes[Vec<S>::size()];
  v.store(lanes);
  S total = 0;
  for (S lane : lanes) total += lane;
  return total;
}

// Zeroes the lanes of v that lie beyond count, so that they do not enter a sum.
template <typename S>
inline Vec<S> masked(Vec<S> v, int64_t count) {
  return count == Vec<S>::size() ? v : Vec<S>::set(Vec<S>(S(0)), v, count);
}

// Mean and biased variance of a row, in two passes.
template <typename S>
inline void row_statistics(const S* row, int64_t n, S* mean, S* var) {
  Vec<S> total(S(0));
  for_vectors<S>(n, [&](int64_t j, int64_t count) { total = total + load(row + j, count); });
  const S mu = sum(total) / S(n);
  Vec<S> squares(S(0));
  for_vectors<S>(n, [&](int64_t j, int64_t count) {
    const auto d = masked(load(row + j, count) - Vec<S>(mu), count);
    squares = at::vec::fmadd(d, d, squares);
  });
  *mean = mu;
  *var = sum(squares) / S(n);
}

// row <- row + addend, where there is one.
template <typename S>
inline void add_row(const S* addend, S* row, int64_t n) {
  if (!addend) return;
  for_vectors<S>(n, [&](int64_t j, int64_t count) { store(load(row + j, count) + load(addend + j, count), row + j, count); });
}

// row <- (row - mean) * rstd
template <typename S>
inline void normalize_row(S* row, int64_t n, S mean, S rstd) {
  for_vectors<S>(n, [&](int64_t j, int64_t count) {
    store((load(row + j, count) - Vec<S>(mean)) * Vec<S>(rstd), row + j, count);
  });
}

}  // namespace atn
