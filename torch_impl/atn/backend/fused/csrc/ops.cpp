// The operators that the fused backend calls: allocation, threads, and the order of the time loops.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <optional>
#include <tuple>
#include <vector>

#include "layer.h"

namespace atn {
namespace {

using at::Tensor;
using OptionalTensor = std::optional<Tensor>;

template <typename S>
const S* data(const OptionalTensor& tensor) {
  return tensor.has_value() ? tensor->const_data_ptr<S>() : nullptr;
}

// Runs body(from, to) over ranges of count things, as cases or panels, one range a thread.
template <typename F>
void in_threads(int64_t count, const F& body) {
  const int64_t threads = std::min<int64_t>(at::get_num_threads(), count);
  at::parallel_for(0, count, (count + threads - 1) / threads, body);
}

// From this many recurrent weights on, all cases take a step together: its product has work for every core, and reading
// the weights once for all cases is worth more than never waiting. Below, a thread takes its cases through all steps.
constexpr int64_t WEIGHTS_OF_A_JOINT_STEP = 1 << 18;

template <typename S>
Norm<S> norm_of(const Tensor& steps, const Tensor& windows, int64_t k, int64_t N, double eps,
                const OptionalTensor& gamma, const OptionalTensor& beta) {
  const int64_t T = windows.size(1), B = windows.size(2), rows = steps.size(1);
  S *step = steps.data_ptr<S>(), *window = windows.data_ptr<S>();
  return {T,    B,   N, k, rows - T, static_cast<S>(eps), data<S>(gamma), data<S>(beta), step, step + rows * B, window,
          window + T * B};
}

template <typename S>
NormGradient<S> gradient_of(const Norm<S>& norm, const Tensor& dsteps, const Tensor& dwindows) {
  S *dstep = dsteps.data_ptr<S>(), *dwindow = dwindows.data_ptr<S>();
  return {norm, dwindow, dwindow + norm.T * norm.B, dstep, dstep + (norm.M + norm.T) * norm.B};
}

// ---------------------------------------------------------------------------------------------------------- the norm

using NormOutput = std::tuple<Tensor, Tensor, Tensor>;

NormOutput norm_forward(const Tensor& a, const OptionalTensor& gamma, const OptionalTensor& beta, const Tensor& memory,
                        int64_t k, double eps) {
  const int64_t T = a.size(0), B = a.size(1), N = a.size(2), M = memory.size(1);
  const auto y = at::empty_like(a), steps = at::empty({2, M + T, B}, a.options());
  const auto windows = at::empty({2, T, B}, a.options());
  steps.narrow(1, 0, M).copy_(memory);
  AT_DISPATCH_FLOATING_TYPES(a.scalar_type(), "atn_norm_forward", [&] {
    using S = scalar_t;
    const auto norm = norm_of<S>(steps, windows, k, N, eps, gamma, beta);
    const S* in = a.const_data_ptr<S>();
    S* out = y.data_ptr<S>();
    in_threads(B, [&](int64_t from, int64_t to) {
      for (int64_t t = 0; t < T; ++t) {
        for (int64_t b = from; b < to; ++b) norm.step(t, b, in + (t * B + b) * N);
        norm.window(t, from, to);
        for (int64_t i = t * B + from; i < t * B + to; ++i)
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

using NormGradients = std::tuple<Tensor, Tensor, Tensor, Tensor>;

NormGradients norm_backward(const Tensor& dy, const OptionalTensor& dsteps_out, const Tensor& a,
                            const OptionalTensor& gamma, const Tensor& steps, const Tensor& windows, int64_t k,
                            double eps) {
  const int64_t T = a.size(0), B = a.size(1), N = a.size(2), M = steps.size(1) - T;
  const auto da = at::empty_like(a), dwindows = at::empty_like(windows);
  const auto dsteps = dsteps_out ? dsteps_out->clone() : at::zeros_like(steps);
  const auto dgamma = at::zeros({N}, a.options()), dbeta = at::zeros_like(dgamma);
  AT_DISPATCH_FLOATING_TYPES(a.scalar_type(), "atn_norm_backward", [&] {
    using S = scalar_t;
    const auto norm = norm_of<S>(steps, windows, k, N, eps, gamma, {});
    const auto gradient = gradient_of<S>(norm, dsteps, dwindows);
    const S *in = a.const_data_ptr<S>(), *upstream = dy.const_data_ptr<S>();
    S* out = da.data_ptr<S>();
    const auto xhat = [&](int64_t i, int64_t j, int64_t n) {
      return (load(in + i * N + j, n) - Vec<S>(norm.mean[i])) * Vec<S>(norm.rstd[i]);
    };
    const auto g = [&](int64_t i, int64_t j, int64_t n) {
      const auto d = load(upstream + i * N + j, n);
      return norm.gamma ? d * load(norm.gamma + j, n) : d;
    };
    std::vector<RowSum<S>> gamma_sums(at::get_num_threads(), RowSum<S>(N)), beta_sums = gamma_sums;
    in_threads(B, [&](int64_t from, int64_t to) {
      auto &gamma_sum = gamma_sums[at::get_thread_num()], &beta_sum = beta_sums[at::get_thread_num()];
      for (int64_t t = T - 1; t >= 0; --t) {
        for (int64_t b = from; b < to; ++b) {
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
          gradient.statistics(t, b, sum(sum_g), sum(sum_gx));
        }
        gradient.collect(M + t, from, to);
        for (int64_t b = from; b < to; ++b) {
          const int64_t i = t * B + b;
          S level, slope;
          gradient.coefficients(t, b, &level, &slope);
          for_vectors<S>(N, [&](int64_t j, int64_t n) {
            const auto rest = at::vec::fmadd(Vec<S>(slope), xhat(i, j, n), Vec<S>(level));
            store(at::vec::fmadd(Vec<S>(norm.rstd[i]), g(i, j, n), rest), out + i * N + j, n);
          });
        }
      }
      for (int64_t s = 0; s < M; ++s) gradient.collect(s, from, to);
    });
    for (auto& sum : gamma_sums) sum.add_to(dgamma.data_ptr<S>());
    for (auto& sum : beta_sums) sum.add_to(dbeta.data_ptr<S>());
  });
  return {da, dgamma, dbeta, dsteps.narrow(1, 0, M).contiguous()};
}

// --------------------------------------------------------------------------------------------------------- the layer

// h, c, steps (3, 2, M + T, B), xhat_ih, xhat_hh, gates, windows (3, 2, T, B); the norms in the order ih, hh, c. Without a
// norm the backward pass reads neither xhat_ih nor xhat_hh, which come back empty.
using LayerOutput = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

template <typename S>
Layer<S> layer_of(const LayerOutput& kept, const OptionalTensor& gamma_ih, const OptionalTensor& gamma_hh,
                  const OptionalTensor& gamma_c, const OptionalTensor& beta_c, const Tensor& c_0, int64_t k,
                  double eps) {
  const auto& [h, c, steps, xhat_ih, xhat_hh, gates, windows] = kept;
  const int64_t T = h.size(0), B = h.size(1), H = h.size(2);
  return {T,
          B,
          H,
          k > 0,
          nullptr,
          nullptr,
          norm_of<S>(steps[0], windows[0], k, 4 * H, eps, gamma_ih, {}),
          norm_of<S>(steps[1], windows[1], k, 4 * H, eps, gamma_hh, {}),
          norm_of<S>(steps[2], windows[2], k, H, eps, gamma_c, beta_c),
          xhat_ih.data_ptr<S>(),
          xhat_hh.data_ptr<S>(),
          gates.data_ptr<S>(),
          c.data_ptr<S>(),
          h.data_ptr<S>(),
          nullptr,
          c_0.const_data_ptr<S>()};
}

// k = 0 stands for no norm. bias_ih and bias_hh are inside the norms; bias is all that is added after them.
LayerOutput lstm_forward(const Tensor& x, const Tensor& weight_ih, const Tensor& weight_hh, const OptionalTensor& bias_ih,
                         const OptionalTensor& bias_hh, const OptionalTensor& bias, const OptionalTensor& gamma_ih,
                         const OptionalTensor& gamma_hh, const OptionalTensor& gamma_c, const OptionalTensor& beta_c,
                         const Tensor& h_0, const Tensor& c_0, const Tensor& memory, int64_t k, double eps) {
  const int64_t T = x.size(0), B = x.size(1), H = h_0.size(1), M = memory.size(2), normed = k > 0;
  const auto rows = x.reshape({T * B, x.size(2)});
  const auto xhat_ih = bias_ih ? at::addmm(*bias_ih, rows, weight_ih.t()) : at::mm(rows, weight_ih.t());
  LayerOutput out{at::empty({T, B, H}, x.options()),
                        at::empty({T, B, H}, x.options()),
                        at::empty({3, 2, normed * (M + T), B}, x.options()),
                        xhat_ih.view({T, B, 4 * H}),
                        at::empty({normed ? T : 1, B, 4 * H}, x.options()),
                        at::empty({T, B, 4 * H}, x.options()),
                        at::empty({3, 2, normed * T, B}, x.options())};
  if (normed) std::get<2>(out).narrow(2, 0, M).copy_(memory);
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "atn_lstm_forward", [&] {
    using S = scalar_t;
    auto layer = layer_of<S>(out, gamma_ih, gamma_hh, gamma_c, beta_c, c_0, k, eps);
    layer.bias_hh = data<S>(bias_hh), layer.bias = data<S>(bias), layer.h_0 = h_0.const_data_ptr<S>();
    const Panels<S> weight(weight_hh.const_data_ptr<S>(), H, 4 * H, 1, H, T);
    if (weight_hh.numel() >= WEIGHTS_OF_A_JOINT_STEP) {
      for (int64_t t = 0; t < T; ++t) {
        in_threads(weight.all().to, [&](int64_t from, int64_t to) { layer.product(weight, t, {0, B}, {from, to}); });
        in_threads(B, [&](int64_t from, int64_t to) { layer.pointwise(t, from, to); });
      }
    } else {
      in_threads(B, [&](int64_t from, int64_t to) {
        for (int64_t t = 0; t < T; ++t)
          layer.product(weight, t, {from, to}, weight.all()), layer.pointwise(t, from, to);
      });
    }
  });
  if (!normed) {
    std::get<3>(out) = at::empty({0, B, 4 * H}, x.options());
    std::get<4>(out) = at::empty({0, B, 4 * H}, x.options());
  }
  return out;
}

// da_ih, da_hh (T, B, 4H), dgamma_ih, dgamma_hh, dshift (4H,), dgamma_c, dbeta_c (H,), dh_0, dc_0 (B, H),
// dmemory (3, 2, M, B). Without a norm da_ih is da_hh and comes back empty.
using LayerGradients = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

template <typename S>
Tensor total(std::vector<Sums<S>>& sums, RowSum<S> Sums<S>::*member, int64_t n, const at::TensorOptions& options) {
  const auto out = at::zeros({n}, options);
  for (auto& one : sums) (one.*member).add_to(out.data_ptr<S>());
  return out;
}

LayerGradients lstm_backward(const OptionalTensor& dh_out, const OptionalTensor& dc_out,
                             const OptionalTensor& dsteps_out, const Tensor& weight_hh, const OptionalTensor& gamma_ih,
                             const OptionalTensor& gamma_hh, const OptionalTensor& gamma_c, const OptionalTensor& beta_c,
                             const Tensor& c_0, const Tensor& h, const Tensor& c, const Tensor& steps,
                             const Tensor& xhat_ih, const Tensor& xhat_hh, const Tensor& gates, const Tensor& windows,
                             int64_t k, double eps) {
  const int64_t T = h.size(0), B = h.size(1), H = h.size(2), normed = k > 0, M = steps.size(2) - normed * T;
  const auto options = h.options();
  const auto dh = at::zeros({B, H}, options), dc = at::zeros({B, H}, options);
  const auto da_ih = at::empty({normed * T, B, 4 * H}, options), da_hh = at::empty({T, B, 4 * H}, options);
  const auto dwindows = at::empty_like(windows);
  const auto dsteps = dsteps_out ? dsteps_out->clone() : at::zeros_like(steps);
  LayerGradients out;
  AT_DISPATCH_FLOATING_TYPES(h.scalar_type(), "atn_lstm_backward", [&] {
    using S = scalar_t;
    const auto layer =
        layer_of<S>({h, c, steps, xhat_ih, xhat_hh, gates, windows}, gamma_ih, gamma_hh, gamma_c, beta_c, c_0, k, eps);
    const LayerGradient<S> gradient{layer,
                                    gradient_of<S>(layer.ih, dsteps[0], dwindows[0]),
                                    gradient_of<S>(layer.hh, dsteps[1], dwindows[1]),
                                    gradient_of<S>(layer.c, dsteps[2], dwindows[2]),
                                    data<S>(dh_out),
                                    data<S>(dc_out),
                                    dh.data_ptr<S>(),
                                    dc.data_ptr<S>(),
                                    da_ih.data_ptr<S>(),
                                    da_hh.data_ptr<S>()};
    std::vector<Sums<S>> sums(at::get_num_threads(), Sums<S>(H));
    const auto memory = [&](int64_t from, int64_t to) {
      for (int64_t s = 0; s < M; ++s)
        gradient.ih.collect(s, from, to), gradient.hh.collect(s, from, to), gradient.c.collect(s, from, to);
    };
    const Panels<S> weight(weight_hh.const_data_ptr<S>(), 4 * H, H, H, 1, T);
    if (weight_hh.numel() >= WEIGHTS_OF_A_JOINT_STEP) {
      for (int64_t t = T - 1; t >= 0; --t) {
        in_threads(B, [&](int64_t from, int64_t to) { gradient.pointwise(t, from, to, sums[at::get_thread_num()]); });
        in_threads(weight.all().to, [&](int64_t from, int64_t to) { gradient.product(weight, t, {0, B}, {from, to}); });
      }
      memory(0, B);
    } else {
      in_threads(B, [&](int64_t from, int64_t to) {
        for (int64_t t = T - 1; t >= 0; --t) {
          gradient.pointwise(t, from, to, sums[at::get_thread_num()]);
          gradient.product(weight, t, {from, to}, weight.all());
        }
        memory(from, to);
      });
    }
    out = {da_ih,
           da_hh,
           total(sums, &Sums<S>::gamma_ih, 4 * H, options),
           total(sums, &Sums<S>::gamma_hh, 4 * H, options),
           total(sums, &Sums<S>::beta, 4 * H, options),
           total(sums, &Sums<S>::gamma_c, H, options),
           total(sums, &Sums<S>::beta_c, H, options),
           dh,
           dc,
           dsteps.narrow(2, 0, M).contiguous()};
  });
  return out;
}

}  // namespace
}  // namespace atn

TORCH_LIBRARY(atn_compiled, library) {
  library.def("norm_forward", &atn::norm_forward);
  library.def("norm_backward", &atn::norm_backward);
  library.def("lstm_forward", &atn::lstm_forward);
  library.def("lstm_backward", &atn::lstm_backward);
}
