// The operators of the norm alone: checks, allocation, threads, and the order of the time loops.

#pragma once

#include <torch/library.h>

#include <tuple>
#include <vector>

#include "checks.h"
#include "norm.h"
#include "sums.h"
#include "threads.h"

namespace atn {

// What describes a norm, beside its statistics.
struct NormSettings {
  int64_t N, k;
  double eps;
  OptionalTensor gamma, beta;
};

// `steps` (2, M + T, B) and `windows` (2, T, B): mean and variance by step, mean and 1 / sqrt(var + eps) by window.
template <typename S>
Norm<S> norm_of(const Tensor& steps, const Tensor& windows, const NormSettings& settings) {
  const int64_t T = windows.size(1), B = windows.size(2), rows = steps.size(1);
  S *step = steps.data_ptr<S>(), *window = windows.data_ptr<S>();
  return {
      .T = T,
      .B = B,
      .N = settings.N,
      .k = settings.k,
      .M = rows - T,
      .eps = static_cast<S>(settings.eps),
      .gamma = data<S>(settings.gamma),
      .beta = data<S>(settings.beta),
      .step_mean = step,
      .step_var = step + rows * B,
      .mean = window,
      .rstd = window + T * B,
  };
}

// `dwindows` and `dsteps`, both (2, M + T, B): gradients of the statistics of windows and steps.
template <typename S>
typename NormBackward<S>::Buffers buffers_of(const Tensor& dwindows, const Tensor& dsteps) {
  const int64_t rows = dsteps.size(1) * dsteps.size(2);
  S *dwindow = dwindows.data_ptr<S>(), *dstep = dsteps.data_ptr<S>();
  return {.dlast = dwindow, .dvar = dwindow + rows, .dstep_mean = dstep, .dstep_var = dstep + rows};
}

struct NormForwardArguments {
  const Tensor& a;  // (T, B, N)
  const OptionalTensor &gamma, &beta;  // (N,)
  const Tensor& memory;  // (2, M, B)
  int64_t k;
  double eps;

  void check() const {
    const Check check(a, "a", 3, "(T, B, N)");
    const int64_t B = a.size(1), N = a.size(2);
    Check::at_least_one(a.size(0), "a", "T");
    Check::at_least_one(N, "a", "N");
    check.shape(gamma, "gamma", {N}, "(N,)");
    check.shape(beta, "beta", {N}, "(N,)");
    Check::rank(memory, "memory", 3, "(2, M, B)");
    check.shape(memory, "memory", {2, memory.size(1), B}, "(2, M, B)");
    Check::window(k, 1);
    check.epsilon(eps);
  }
};

using NormOutput = std::tuple<Tensor, Tensor, Tensor>;

inline NormOutput run(const NormForwardArguments& given) {
  given.check();
  const auto& a = given.a;
  const int64_t T = a.size(0), B = a.size(1), N = a.size(2), M = given.memory.size(1);
  const auto y = at::empty_like(a), steps = at::empty({2, M + T, B}, a.options());
  const auto windows = at::empty({2, T, B}, a.options());
  steps.narrow(1, 0, M).copy_(given.memory);
  AT_DISPATCH_FLOATING_TYPES(a.scalar_type(), "atn_norm_forward", [&] {
    using S = scalar_t;
    const auto norm =
        norm_of<S>(steps, windows, {.N = N, .k = given.k, .eps = given.eps, .gamma = given.gamma, .beta = given.beta});
    NormForward<S> forward(norm);
    const S* in = a.const_data_ptr<S>();
    S* out = y.data_ptr<S>();
    in_parts(B, parts_of(B), [&](int64_t, Range cases) {
      forward.start(cases.from, cases.to);
      for (int64_t t = 0; t < T; ++t) {
        for (int64_t b = cases.from; b < cases.to; ++b) forward.step(t, b, in + (t * B + b) * N);
        forward.window(t, cases.from, cases.to);
        for (int64_t i = t * B + cases.from; i < t * B + cases.to; ++i)
          for_vectors<S>(N, [&](int64_t j, int64_t n) {
            auto v = (load(in + i * N + j, n) - Vec<S>(norm.mean[i])) * Vec<S>(norm.rstd[i]);
            if (norm.gamma) v = v * load(norm.gamma + j, n);
            if (norm.beta) v = v + load(norm.beta + j, n);
            store(v, out + i * N + j, n);
          });
      }
    });
  });
  return {y, steps, windows};
}

struct NormBackwardArguments {
  const Tensor& dy;  // (T, B, N)
  const OptionalTensor& dsteps;  // (2, M + T, B)
  const Tensor& a;  // (T, B, N)
  const OptionalTensor& gamma;  // (N,)
  const Tensor &steps, &windows;  // (2, M + T, B), (2, T, B)
  int64_t k;
  double eps;

  void check() const {
    const Check check(a, "a", 3, "(T, B, N)");
    const int64_t T = a.size(0), B = a.size(1), N = a.size(2);
    Check::at_least_one(T, "a", "T");
    Check::at_least_one(N, "a", "N");
    check.shape(dy, "dy", {T, B, N}, "(T, B, N)");
    check.shape(gamma, "gamma", {N}, "(N,)");
    Check::rank(steps, "steps", 3, "(2, M + T, B)");
    const int64_t rows = steps.size(1);
    TORCH_CHECK_VALUE(rows >= T, "steps must have at least T = ", T, " steps, got ", rows);
    check.shape(steps, "steps", {2, rows, B}, "(2, M + T, B)");
    check.shape(dsteps, "dsteps", {2, rows, B}, "(2, M + T, B)");
    check.shape(windows, "windows", {2, T, B}, "(2, T, B)");
    Check::window(k, 1);
    check.epsilon(eps);
  }
};

using NormGradients = std::tuple<Tensor, Tensor, Tensor, Tensor>;

inline NormGradients run(const NormBackwardArguments& given) {
  given.check();
  const auto& a = given.a;
  const int64_t T = a.size(0), B = a.size(1), N = a.size(2), M = given.steps.size(1) - T;
  const auto da = at::empty_like(a), dwindows = at::empty_like(given.steps);
  const auto dsteps = given.dsteps ? given.dsteps->clone() : at::zeros_like(given.steps);
  const auto dgamma = at::zeros({N}, a.options()), dbeta = at::zeros_like(dgamma);
  dwindows.narrow(1, 0, M).zero_();
  AT_DISPATCH_FLOATING_TYPES(a.scalar_type(), "atn_norm_backward", [&] {
    using S = scalar_t;
    const auto norm = norm_of<S>(given.steps, given.windows,
                                 {.N = N, .k = given.k, .eps = given.eps, .gamma = given.gamma, .beta = {}});
    NormBackward<S> backward(norm, buffers_of<S>(dwindows, dsteps));
    const S *in = a.const_data_ptr<S>(), *upstream = given.dy.const_data_ptr<S>();
    S* out = da.data_ptr<S>();
    const auto xhat = [&](int64_t i, int64_t j, int64_t n) {
      return (load(in + i * N + j, n) - Vec<S>(norm.mean[i])) * Vec<S>(norm.rstd[i]);
    };
    const auto g = [&](int64_t i, int64_t j, int64_t n) {
      const auto d = load(upstream + i * N + j, n);
      return norm.gamma ? d * load(norm.gamma + j, n) : d;
    };
    const int64_t parts = parts_of(B);
    std::vector<RowSum<S>> gamma_sums(parts, RowSum<S>(N)), beta_sums = gamma_sums;
    in_parts(B, parts, [&](int64_t part, Range cases) {
      auto &gamma_sum = gamma_sums[part], &beta_sum = beta_sums[part];
      for (int64_t t = T - 1; t >= 0; --t) {
        for (int64_t b = cases.from; b < cases.to; ++b) {
          const int64_t i = t * B + b;
          Vec<S> sum_g(S(0)), sum_gx(S(0));
          for_vectors<S>(N, [&](int64_t j, int64_t n) {
            const auto x = masked(xhat(i, j, n), n), gj = masked(g(i, j, n), n), d = load(upstream + i * N + j, n);
            sum_g = sum_g + gj;
            sum_gx = at::vec::fmadd(gj, x, sum_gx);
            gamma_sum.add(j, d * x, n);
            beta_sum.add(j, d, n);
          });
          gamma_sum.row_done(), beta_sum.row_done();
          backward.statistics(t, b, sum(sum_g), sum(sum_gx));
        }
        backward.collect(t, cases.from, cases.to);
        for (int64_t b = cases.from; b < cases.to; ++b) {
          const int64_t i = t * B + b;
          S level, slope;
          backward.coefficients(t, b, &level, &slope);
          for_vectors<S>(N, [&](int64_t j, int64_t n) {
            const auto centered = load(in + i * N + j, n) - Vec<S>(norm.center(i));
            const auto rest = at::vec::fmadd(Vec<S>(slope), centered, Vec<S>(level));
            store(at::vec::fmadd(Vec<S>(norm.rstd[i]), g(i, j, n), rest), out + i * N + j, n);
          });
        }
      }
      backward.finish(cases.from, cases.to);
    });
    for (auto& sum : gamma_sums) sum.add_to(dgamma.data_ptr<S>());
    for (auto& sum : beta_sums) sum.add_to(dbeta.data_ptr<S>());
  });
  return {da, dgamma, dbeta, dsteps.narrow(1, 0, M).contiguous()};
}

}  // namespace atn
