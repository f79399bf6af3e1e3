// Assorted-time normalization of the rows of a sequence, in pieces that a time loop calls: Eqs. (7)-(9).
//
// With the mean m and the biased variance q of each step, those of a window are
//     mu = mean of m,   var = mean of q + (m - mu)^2,
// exactly, never negative, and from scalars alone. A short window is computed so; a long one is merged from shorter
// ones (sliding.h).
//
// Letters: T time, B cases, N features, k window length, M steps of memory in front of the first. A step is counted by t
// from the first of the sequence, or by s = M + t from the first of the memory.

#pragma once

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "rows.h"
#include "sliding.h"

namespace atn {

// One norm over a whole sequence: what the forward pass keeps and the backward pass reads.
template <typename S>
struct Norm {
  int64_t T, B, N, k, M;
  S eps;
  const S* gamma;  // (N,) or null
  const S* beta;   // (N,) or null
  S* step_mean;    // (M + T, B)
  S* step_var;     // (M + T, B)
  S* mean;         // (T, B), of the window
  S* rstd;         // (T, B), 1 / sqrt(var + eps) of the window

  bool windows_are_long() const { return k > LONGEST_DIRECT_WINDOW; }

  // First step of the window that ends in step t, counted from the memory's first. Written so that no k overflows.
  int64_t first(int64_t t) const { return k > M + t ? 0 : M + t + 1 - k; }
  int64_t window_length(int64_t t) const { return std::min(k, M + t + 1); }

  // Of a row i = t * B + b that the backward pass reads, a - center is kept, of which the gradient of the step's own
  // statistics is made, with center the mean m of the step: of a - mean no digit of a would be left beside a far larger
  // step of the window. Its xhat is row * rstd + xhat_center.
  S center(int64_t i) const { return step_mean[M * B + i]; }
  S xhat_center(int64_t i) const { return (center(i) - mean[i]) * rstd[i]; }
};

// Vectors of xhat of row i, which is centered by the way, to be kept.
template <typename S>
inline auto xhat_in_place(const Norm<S>& norm, int64_t i, S* row) {
  const Vec<S> center(norm.center(i)), rstd(norm.rstd[i]), xhat_center(norm.xhat_center(i));
  return [=](int64_t at, int64_t n) {
    const auto centered = load(row + at, n) - center;
    store(centered, row + at, n);
    return at::vec::fmadd(centered, rstd, xhat_center);
  };
}

// Vectors of xhat of row i, which has been centered.
template <typename S>
inline auto xhat_of(const Norm<S>& norm, int64_t i, const S* row) {
  const Vec<S> rstd(norm.rstd[i]), xhat_center(norm.xhat_center(i));
  return [=](int64_t at, int64_t n) { return at::vec::fmadd(load(row + at, n), rstd, xhat_center); };
}

// The forward pass.
template <typename S>
class NormForward {
 public:
  explicit NormForward(const Norm<S>& norm) : norm_(norm) {
    if (norm.windows_are_long()) sliding_.emplace(norm.k, norm.M + norm.T, norm.B);
  }

  // Takes in the memory's steps, for cases [from, to). Before any other.
  void start(int64_t from, int64_t to) {
    for (int64_t s = 0; s < norm_.M && sliding_; ++s) push(s, from, to);
  }

  // Statistics of one row of step t.
  void step(int64_t t, int64_t b, const S* row) const {
    const int64_t i = (norm_.M + t) * norm_.B + b;
    row_statistics(row, norm_.N, norm_.step_mean + i, norm_.step_var + i);
  }

  // Statistics of the window that ends in step t, for cases [from, to): Eqs. (7)-(8).
  void window(int64_t t, int64_t from, int64_t to) {
    if (sliding_)
      merged_window(t, from, to);
    else
      short_window(t, from, to);
  }

 private:
  void short_window(int64_t t, int64_t from, int64_t to) const {
    const int64_t B = norm_.B, start = norm_.first(t), end = norm_.M + t;
    S* __restrict mu = norm_.mean + t * B;
    S* __restrict r = norm_.rstd + t * B;
    const S weight = S(1) / S(end - start + 1);
    for (int64_t b = from; b < to; ++b) mu[b] = 0;
    for (int64_t s = start; s <= end; ++s)
      for (int64_t b = from; b < to; ++b) mu[b] += norm_.step_mean[s * B + b];
    for (int64_t b = from; b < to; ++b) mu[b] *= weight, r[b] = 0;
    for (int64_t s = start; s <= end; ++s)
      for (int64_t b = from; b < to; ++b) {
        const S d = norm_.step_mean[s * B + b] - mu[b];
        r[b] += weight * (norm_.step_var[s * B + b] + d * d);  // a sum of k variances might overflow
      }
    for (int64_t b = from; b < to; ++b) keep_window(mu[b], r[b], mu + b, r + b);
  }

  void merged_window(int64_t t, int64_t from, int64_t to) {
    const Pair<S> window = push(norm_.M + t, from, to);
    S* mu = norm_.mean + t * norm_.B;
    S* r = norm_.rstd + t * norm_.B;
    for (int64_t b = from; b < to; ++b) {
      keep_window(window.first[b], window.second[b], mu + b, r + b);
    }
  }

  void keep_window(S mean, S var, S* mu, S* r) const {
    *r = S(1) / std::sqrt(var + norm_.eps);
    // Where the variance has overflowed, rstd is 0 and the mean without effect, but a difference with it might overflow.
    *mu = *r == 0 ? mean * *r : mean;  // not a number where the mean is infinite
  }

  Pair<S> push(int64_t s, int64_t from, int64_t to) {
    const auto step = [&](int64_t i) { return Pair<S>{norm_.step_mean + i * norm_.B, norm_.step_var + i * norm_.B}; };
    return sliding_->push(s, from, to, step, merge);
  }

  // Mean and variance of both parts, by the pairwise update of Chan, Golub and LeVeque (1979). Written so that rounding
  // cannot make a variance negative, and an infinite one stays infinite.
  static void merge(const Parts<S>& parts, Pair<S> out, int64_t from, int64_t to) {
    const S share = S(parts.far_length) / S(parts.far_length + parts.near_length), between = share * (S(1) - share);
    const S *near_mean = parts.near.first, *near_var = parts.near.second;
    const S *far_mean = parts.far.first, *far_var = parts.far.second;
    S* __restrict mean = out.first;
    S* __restrict var = out.second;
    for (int64_t b = from; b < to; ++b) {
      const S delta = far_mean[b] - near_mean[b];
      mean[b] = near_mean[b] + share * delta;
      var[b] = (S(1) - share) * near_var[b] + share * far_var[b] + between * delta * delta;
    }
  }

  Norm<S> norm_;
  std::optional<SlidingWindow<S>> sliding_;
};

// The backward pass, from the last step to the first. The gradients of a step's mean and variance sum over the windows
// that contain it, all of which lie in its future:
//     dm[s] = sum over t of dmean[t] + 2 dvar[t] (m[s] - mean[t]),   dq[s] = sum over t of dvar[t].
template <typename S>
class NormBackward {
 public:
  // By step, with the memory's in front: the gradients of the statistics of the window that ends there, divided by its
  // length, and zero for those that end in the memory; and the gradients of the step's own statistics, which start from
  // what flows back through the memory passed out. That of the mean is for a window whose last step's mean is moved,
  // dmean[t] + 2 dvar[t] (m[t] - mean[t]): to another step s of the window 2 dvar[t] (m[s] - m[t]) is added. Two steps
  // of a window are never far apart beside its deviation, as the means of two windows can be.
  struct Buffers {
    S* dlast;       // (M + T, B)
    S* dvar;        // (M + T, B)
    S* dstep_mean;  // (M + T, B)
    S* dstep_var;   // (M + T, B)
  };

  NormBackward(const Norm<S>& norm, const Buffers& buffers) : norm_(norm), buffers_(buffers) {
    if (norm.windows_are_long()) sliding_.emplace(norm.k, norm.M + norm.T, norm.B);
  }

  // From sum of g and sum of g * xhat over the row, where g = gamma * dy.
  void statistics(int64_t t, int64_t b, S sum_g, S sum_gx) const {
    const S share = S(1) / S(norm_.window_length(t));
    const int64_t i = t * norm_.B + b, s = (norm_.M + t) * norm_.B + b;
    const S r = norm_.rstd[i];
    const S dvar = S(-0.5) * r * r * sum_gx * share;
    buffers_.dlast[s] = -r * sum_g * share + 2 * dvar * (norm_.center(i) - norm_.mean[i]);
    buffers_.dvar[s] = dvar;
  }

  // Gradient of the mean and variance of step t, for cases [from, to). After the `statistics` of these cases.
  void collect(int64_t t, int64_t from, int64_t to) { collect_step(norm_.M + t, from, to); }

  // The same of every step of the memory. After all steps of the sequence.
  void finish(int64_t from, int64_t to) {
    for (int64_t s = norm_.M - 1; s >= 0; --s) collect_step(s, from, to);
  }

  // da = r * g + level + slope * (a - center), the coefficients of one row.
  void coefficients(int64_t t, int64_t b, S* level, S* slope) const {
    const int64_t s = (norm_.M + t) * norm_.B + b;
    *slope = 2 * buffers_.dstep_var[s] / S(norm_.N);
    *level = buffers_.dstep_mean[s] / S(norm_.N);
  }

 private:
  void collect_step(int64_t s, int64_t from, int64_t to) {
    if (sliding_)
      collect_merged(s, from, to);
    else
      collect_short(s, from, to);
  }

  void collect_short(int64_t s, int64_t from, int64_t to) const {
    const int64_t B = norm_.B;
    S* __restrict dm = buffers_.dstep_mean + s * B;
    S* __restrict dq = buffers_.dstep_var + s * B;
    const S* m = norm_.step_mean + s * B;
    const int64_t end = std::min(norm_.M + norm_.T, s + norm_.k);  // a short k cannot overflow
    for (int64_t r = std::max(norm_.M, s); r < end; ++r) {
      const S* __restrict dlast = buffers_.dlast + r * B;
      const S* __restrict dv = buffers_.dvar + r * B;
      const S* __restrict last = norm_.step_mean + r * B;
      for (int64_t b = from; b < to; ++b) {
        dm[b] += dlast[b] + 2 * dv[b] * (m[b] - last[b]);
        dq[b] += dv[b];
      }
    }
  }

  void collect_merged(int64_t s, int64_t from, int64_t to) {
    const int64_t B = norm_.B;
    const Pair<S> sums = push(s, from, to);
    S* __restrict dm = buffers_.dstep_mean + s * B;
    S* __restrict dq = buffers_.dstep_var + s * B;
    for (int64_t b = from; b < to; ++b) {
      dm[b] += sums.first[b];
      dq[b] += sums.second[b];
    }
  }

  // Time runs backward: step i of the sliding window is row s = last - i. An aggregate is the sum over its windows t of
  // dmean[t] + 2 dvar[t] (m - mean[t]), where m is the mean of the step in which the nearest of them ends, and which all
  // of them contain; and the sum of dvar[t]. Seen from the near part's m, the far part has 2 * (sum of dvar) *
  // (difference of the two m) more.
  Pair<S> push(int64_t s, int64_t from, int64_t to) {
    const int64_t B = norm_.B, last = norm_.M + norm_.T - 1;
    const auto step = [&](int64_t i) {
      return Pair<S>{buffers_.dlast + (last - i) * B, buffers_.dvar + (last - i) * B};
    };
    const auto merge = [&](const Parts<S>& parts, Pair<S> out, int64_t begin, int64_t end) {
      const S* near_center = norm_.step_mean + (last - parts.near_end) * B;
      const S* far_center = norm_.step_mean + (last - parts.far_end) * B;
      const S *near_mean = parts.near.first, *near_var = parts.near.second;
      const S *far_mean = parts.far.first, *far_var = parts.far.second;
      S* __restrict mean = out.first;
      S* __restrict var = out.second;
      for (int64_t b = begin; b < end; ++b) {
        mean[b] = near_mean[b] + (far_mean[b] + 2 * far_var[b] * (near_center[b] - far_center[b]));
        var[b] = near_var[b] + far_var[b];
      }
    };
    return sliding_->push(last - s, from, to, step, merge);
  }

  Norm<S> norm_;
  Buffers buffers_;
  std::optional<SlidingWindow<S>> sliding_;
};

}  // namespace atn
