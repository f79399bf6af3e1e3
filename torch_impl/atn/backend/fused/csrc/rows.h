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

// The sum of the lanes, half by half: one after the other each addition would wait for the one before it.
template <typename S>
inline S sum(Vec<S> v) {
  S lanes[Vec<S>::size()];
  v.store(lanes);
#pragma GCC unroll 4
  for (int half = Vec<S>::size() / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  return lanes[0];
}

// Zeroes the lanes of v that lie beyond count, so that they do not enter a sum.
template <typename S>
inline Vec<S> masked(Vec<S> v, int64_t count) {
  return count == Vec<S>::size() ? v : Vec<S>::set(Vec<S>(S(0)), v, count);
}

// The sum over a row of n elements, of which term(total, offset, count) adds some to a total. There are four totals,
// since an addition waits for the one before it.
template <typename S, typename F>
inline S sum_over_row(int64_t n, const F& term) {
  constexpr int64_t width = Vec<S>::size();
  Vec<S> a(S(0)), b(S(0)), c(S(0)), d(S(0));
  int64_t j = 0;
  for (; j + 4 * width <= n; j += 4 * width) {
    a = term(a, j, width), b = term(b, j + width, width);
    c = term(c, j + 2 * width, width), d = term(d, j + 3 * width, width);
  }
  for_vectors<S>(n - j, [&](int64_t i, int64_t count) { a = term(a, j + i, count); });
  return sum((a + b) + (c + d));
}

// Mean and biased variance of a row, in two passes.
template <typename S>
inline void row_statistics(const S* row, int64_t n, S* mean, S* var) {
  const auto value = [&](Vec<S> total, int64_t j, int64_t count) { return total + load(row + j, count); };
  const S mu = sum_over_row<S>(n, value) / S(n);
  const auto square = [&](Vec<S> total, int64_t j, int64_t count) {
    const auto difference = masked(load(row + j, count) - Vec<S>(mu), count);
    return at::vec::fmadd(difference, difference, total);
  };
  *mean = mu;
  *var = sum_over_row<S>(n, square) / S(n);
}

// row <- row + addend, where there is one.
template <typename S>
inline void add_row(const S* addend, S* row, int64_t n) {
  if (!addend) return;
  for_vectors<S>(n, [&](int64_t j, int64_t count) { store(load(row + j, count) + load(addend + j, count), row + j, count); });
}

// row <- row - center
template <typename S>
inline void center_row(S* row, int64_t n, S center) {
  for_vectors<S>(n, [&](int64_t j, int64_t count) { store(load(row + j, count) - Vec<S>(center), row + j, count); });
}

}  // namespace atn
