// Assorted-time normalization of the rows of a sequence, in pieces that a time loop calls: Eqs. (7)-(9).
//
// With the mean m and the biased variance q of each step, those of a window are
//     mu = mean of m,   var = mean of q + (m - mu)^2,
// exactly, never negative, and from scalars alone; so is the sum over the windows that contain a step, which the
// backward pass needs and which lie in the future.
//
// Letters: T time, B cases, N features, k window length, M steps of memory in front of the first.

#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "rows.h"

namespace atn {

// One norm over a whole sequence: what the forward pass keeps and the backward pass reads.
template <typename S>
struct Norm {
  int64_t T, B, N, k, M;
  S eps;
  const S* gamma;   // (N,) or null
  const S* beta;  // (N,) or null
  S* step_mean;    // (M + T, B)
  S* step_var;     // (M + T, B)
  S* mean;         // (T, B), of the window
  S* rstd;         // (T, B), 1 / sqrt(var + eps) of the window

  void step(int64_t t, int64_t b, const S* row) const {
    row_statistics(row, N, step_mean + (M + t) * B + b, step_var + (M + t) * B + b);
  }

  // First row of the window that ends in step t, counted from the memory's first.
  int64_t first(int64_t t) const { return std::max<int64_t>(0, M + t + 1 - k); }

  // Statistics of the window that ends in step t, for cases [from, to): Eqs. (7)-(8).
  void window(int64_t t, int64_t from, int64_t to) const {
    S* __restrict mu = mean + t * B;
    S* __restrict r = rstd + t * B;
    const int64_t start = first(t), end = M + t;
    const S weight = S(1) / S(end - start + 1);
    for (int64_t b = from; b < to; ++b) mu[b] = 0;
    for (int64_t s = start; s <= end; ++s)
      for (int64_t b = from; b < to; ++b) mu[b] += step_mean[s * B + b];
    for (int64_t b = from; b < to; ++b) mu[b] *= weight, r[b] = 0;
    for (int64_t s = start; s <= end; ++s)
      for (int64_t b = from; b < to; ++b) {
        const S d = step_mean[s * B + b] - mu[b];
        r[b] += step_var[s * B + b] + d * d;
      }
    for (int64_t b = from; b < to; ++b) r[b] = S(1) / std::sqrt(r[b] * weight + eps);
  }
};

// Sum of many rows. A few rows at a time in S, then in long double: adding thousands of rows one after the other would
// cost digits that a pairwise sum keeps.
template <typename S>
class RowSum {
 public:
  explicit RowSum(int64_t n) : recent_(n), total_(n) {}

  void add(int64_t j, Vec<S> v, int64_t count) { store(load(recent_.data() + j, count) + v, recent_.data() + j, count); }

  void row_done() {
    if (++rows_ == 32) flush();
  }

  void add_to(S* out) {
    flush();
    for (size_t j = 0; j < total_.size(); ++j) out[j] += static_cast<S>(total_[j]);
  }

 private:
  void flush() {
    for (size_t j = 0; j < total_.size(); ++j) total_[j] += recent_[j], recent_[j] = 0;
    rows_ = 0;
  }

  std::vector<S> recent_;
  std::vector<long double> total_;
  int rows_ = 0;
};

// Backward of a norm. `dmean` and `dvar` are the gradients of the statistics of each window, already divided by its
// number of steps; those of a step sum over the windows that contain it, all of which lie in the future.
template <typename S>
struct NormGradient {
  const Norm<S>& norm;
  S* dmean;       // (T, B)
  S* dvar;        // (T, B)
  S* dstep_mean;  // (M + T, B): gradient of each step's mean, seeded with that of the memory passed out
  S* dstep_var;   // (M + T, B)

  // From sum of g and sum of g * xhat, where g = gain * dy.
  void statistics(int64_t t, int64_t b, S sum_g, S sum_gx) const {
    const int64_t i = t * norm.B + b;
    const S share = S(1) / S(norm.M + t + 1 - norm.first(t));
    const S r = norm.rstd[i];
    dmean[i] = -r * sum_g * share;
    dvar[i] = S(-0.5) * r * r * sum_gx * share;
  }

  // Gradient of the mean and variance of row s (counted from the memory's first), for cases [from, to).
  void collect(int64_t s, int64_t from, int64_t to) const {
    const int64_t B = norm.B;
    S* __restrict dm = dstep_mean + s * B;
    S* __restrict dq = dstep_var + s * B;
    const S* m = norm.step_mean + s * B;
    const int64_t start = std::max<int64_t>(0, s - norm.M), end = std::min(norm.T, s - norm.M + norm.k);
    for (int64_t t = start; t < end; ++t) {
      const S* __restrict dmu = dmean + t * B;
      const S* __restrict dv = dvar + t * B;
      const S* __restrict mu = norm.mean + t * B;
      for (int64_t b = from; b < to; ++b) {
        dm[b] += dmu[b] + 2 * dv[b] * (m[b] - mu[b]);
        dq[b] += dv[b];
      }
    }
  }

  // da = r * g + level + slope * xhat, the coefficients of one row.
  void coefficients(int64_t t, int64_t b, S* level, S* slope) const {
    const int64_t i = t * norm.B + b, s = (norm.M + t) * norm.B + b;
    const S scale = 2 * dstep_var[s] / S(norm.N);
    *level = dstep_mean[s] / S(norm.N) + scale * (norm.mean[i] - norm.step_mean[s]);
    *slope = scale / norm.rstd[i];
  }
};

}  // namespace atn
