// The operators of a layer: checks, allocation, threads, and the order of the time loops. k = 0 stands for no norm.

#pragma once

#include <torch/library.h>

#include <tuple>
#include <vector>

#include "checks.h"
#include "layer_backward.h"
#include "layer_forward.h"
#include "norm_operators.h"

namespace atn {

// From this many recurrent weights on, all cases take a step together: its product has work for every core, and reading
// the weights once for all cases is worth more than never waiting. Below, a thread takes its cases through all steps.
constexpr int64_t WEIGHTS_OF_A_JOINT_STEP = 1 << 18;

// What the backward pass reads of the forward pass, and the settings of both.
struct LayerTensors {
  const Tensor &h, &c;              // (T, B, H)
  const Tensor& steps;              // (3, 2, M + T, B), of the norms ih, hh and c
  const Tensor &xhat_ih, &xhat_hh;  // (T, B, 4H)
  const Tensor& gates;              // (T, B, 4H)
  const Tensor& windows;            // (3, 2, T, B)
  const OptionalTensor &gamma_ih, &gamma_hh, &gamma_c, &beta_c;
  const Tensor& c_0;  // (B, H)
  int64_t k;
  double eps;

  template <typename S>
  Layer<S> layer() const {
    const int64_t H = h.size(2);
    const bool normed = k > 0;
    const NormSettings of_ih{.N = 4 * H, .k = k, .eps = eps, .gamma = gamma_ih, .beta = {}};
    const NormSettings of_hh{.N = 4 * H, .k = k, .eps = eps, .gamma = gamma_hh, .beta = {}};
    const NormSettings of_c{.N = H, .k = k, .eps = eps, .gamma = gamma_c, .beta = beta_c};
    return {
        .T = h.size(0),
        .B = h.size(1),
        .H = H,
        .normed = normed,
        .bias_hh = nullptr,
        .bias = nullptr,
        .h_0 = nullptr,
        .c_0 = c_0.const_data_ptr<S>(),
        .ih = norm_of<S>(steps[0], windows[0], of_ih),
        .hh = norm_of<S>(steps[1], windows[1], of_hh),
        .c = norm_of<S>(steps[2], windows[2], of_c),
        .xhat_ih = xhat_ih.data_ptr<S>(),
        .xhat_hh = xhat_hh.data_ptr<S>(),
        .gates = gates.data_ptr<S>(),
        .cell = c.data_ptr<S>(),
        .h = h.data_ptr<S>(),
    };
  }
};

inline void check_gains(const Check& check, const OptionalTensor& gamma_ih, const OptionalTensor& gamma_hh,
                        const OptionalTensor& gamma_c, const OptionalTensor& beta_c, int64_t H, int64_t k) {
  if (k == 0) Check::absent(gamma_ih, "gamma_ih"), Check::absent(gamma_hh, "gamma_hh");
  check.shape(gamma_ih, "gamma_ih", {4 * H}, "(4H,)");
  check.shape(gamma_hh, "gamma_hh", {4 * H}, "(4H,)");
  check.shape(gamma_c, "gamma_c", {H}, "(H,)");
  check.shape(beta_c, "beta_c", {H}, "(H,)");
}

struct LSTMForwardArguments {
  const Tensor& x;                                 // (T, B, I)
  const Tensor &weight_ih, &weight_hh;             // (4H, I), (4H, H)
  const OptionalTensor &bias_ih, &bias_hh, &bias;  // (4H,): inside the norms, and all that is added after them
  const OptionalTensor &gamma_ih, &gamma_hh;       // (4H,)
  const OptionalTensor &gamma_c, &beta_c;          // (H,)
  const Tensor &h_0, &c_0;                         // (B, H)
  const Tensor& memory;                            // (3, 2, M, B)
  int64_t k;
  double eps;

  void check() const {
    const Check check(x, "x", 3, "(T, B, I)");
    const int64_t B = x.size(1), I = x.size(2);
    Check::at_least_one(x.size(0), "x", "T");
    Check::at_least_one(I, "x", "I");
    Check::rank(h_0, "h_0", 2, "(B, H)");
    const int64_t H = h_0.size(1);
    Check::at_least_one(H, "h_0", "H");
    check.shape(h_0, "h_0", {B, H}, "(B, H)");
    check.shape(c_0, "c_0", {B, H}, "(B, H)");
    check.shape(weight_ih, "weight_ih", {4 * H, I}, "(4H, I)");
    check.shape(weight_hh, "weight_hh", {4 * H, H}, "(4H, H)");
    check.shape(bias_ih, "bias_ih", {4 * H}, "(4H,)");
    check.shape(bias_hh, "bias_hh", {4 * H}, "(4H,)");
    check.shape(bias, "bias", {4 * H}, "(4H,)");
    Check::window(k, 0);
    check_gains(check, gamma_ih, gamma_hh, gamma_c, beta_c, H, k);
    Check::rank(memory, "memory", 4, "(3, 2, M, B)");
    check.shape(memory, "memory", {3, 2, k == 0 ? 0 : memory.size(2), B}, "(3, 2, M, B)");
    Check::epsilon(eps);
    if (k == 0) Check::absent(bias_hh, "bias_hh"), Check::absent(bias, "bias");  // bias_ih is all there is
  }
};

// h, c, steps, xhat_ih, xhat_hh, gates, windows, as of `LayerTensors`. Without a norm the backward pass reads neither
// xhat_ih nor xhat_hh, which come back empty.
using LayerOutput = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

inline LayerOutput run(const LSTMForwardArguments& given) {
  given.check();
  const auto& x = given.x;
  const int64_t T = x.size(0), B = x.size(1), I = x.size(2), H = given.h_0.size(1), M = given.memory.size(2);
  const bool normed = given.k > 0;
  const auto options = x.options();
  const auto rows = x.view({T * B, I}), weight_ih = given.weight_ih.t();
  const auto a_ih = given.bias_ih ? at::addmm(*given.bias_ih, rows, weight_ih) : at::mm(rows, weight_ih);
  const auto xhat_ih = a_ih.view({T, B, 4 * H});
  const auto h = at::empty({T, B, H}, options), c = at::empty({T, B, H}, options);
  const auto xhat_hh = at::empty({normed ? T : 1, B, 4 * H}, options), gates = at::empty({T, B, 4 * H}, options);
  const auto steps = at::empty({3, 2, normed ? M + T : 0, B}, options);
  const auto windows = at::empty({3, 2, normed ? T : 0, B}, options);
  if (normed) steps.narrow(2, 0, M).copy_(given.memory);
  const LayerTensors tensors{
      .h = h,
      .c = c,
      .steps = steps,
      .xhat_ih = xhat_ih,
      .xhat_hh = xhat_hh,
      .gates = gates,
      .windows = windows,
      .gamma_ih = given.gamma_ih,
      .gamma_hh = given.gamma_hh,
      .gamma_c = given.gamma_c,
      .beta_c = given.beta_c,
      .c_0 = given.c_0,
      .k = given.k,
      .eps = given.eps,
  };
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "atn_lstm_forward", [&] {
    using S = scalar_t;
    auto layer = tensors.layer<S>();
    layer.bias_hh = data<S>(given.bias_hh), layer.bias = data<S>(given.bias);
    layer.h_0 = given.h_0.const_data_ptr<S>();
    LayerForward<S> forward(layer);
    const Panels<S> weight({.data = given.weight_hh.const_data_ptr<S>(),
                            .inner = H,
                            .columns = 4 * H,
                            .inner_stride = 1,
                            .column_stride = H,
                            .products = T});
    if (given.weight_hh.numel() >= WEIGHTS_OF_A_JOINT_STEP) {
      forward.start(0, B);
      for (int64_t t = 0; t < T; ++t) {
        const int64_t panels = weight.all().to;
        in_parts(panels, parts_of(panels), [&](int64_t, Range some) { forward.product(weight, t, {0, B}, some); });
        in_parts(B, parts_of(B), [&](int64_t, Range cases) { forward.pointwise(t, cases.from, cases.to); });
      }
    } else {
      in_parts(B, parts_of(B), [&](int64_t, Range cases) {
        forward.start(cases.from, cases.to);
        for (int64_t t = 0; t < T; ++t)
          forward.product(weight, t, cases, weight.all()), forward.pointwise(t, cases.from, cases.to);
      });
    }
  });
  const auto kept = [&](const Tensor& xhat) { return normed ? xhat : at::empty({0, B, 4 * H}, options); };
  return {h, c, steps, kept(xhat_ih), kept(xhat_hh), gates, windows};
}

struct LSTMBackwardArguments {
  const OptionalTensor &dh, &dc;              // (T, B, H)
  const OptionalTensor& dsteps;               // (3, 2, M + T, B)
  const Tensor& weight_hh;                    // (4H, H)
  const OptionalTensor &gamma_ih, &gamma_hh;  // (4H,)
  const OptionalTensor &gamma_c, &beta_c;     // (H,)
  const Tensor& c_0;                          // (B, H)
  const Tensor &h, &c, &steps, &kept_ih, &kept_hh, &gates, &windows;  // what the forward pass gave
  int64_t k;
  double eps;

  void check() const {
    const Check check(h, "h", 3, "(T, B, H)");
    const int64_t T = h.size(0), B = h.size(1), H = h.size(2);
    Check::at_least_one(T, "h", "T");
    Check::at_least_one(H, "h", "H");
    Check::window(k, 0);
    const int64_t normed_steps = k > 0 ? T : 0;
    check.shape(c, "c", {T, B, H}, "(T, B, H)");
    check.shape(dh, "dh", {T, B, H}, "(T, B, H)");
    check.shape(dc, "dc", {T, B, H}, "(T, B, H)");
    check.shape(c_0, "c_0", {B, H}, "(B, H)");
    check.shape(weight_hh, "weight_hh", {4 * H, H}, "(4H, H)");
    check_gains(check, gamma_ih, gamma_hh, gamma_c, beta_c, H, k);
    Check::rank(steps, "steps", 4, "(3, 2, M + T, B)");
    const int64_t rows = k > 0 ? steps.size(2) : 0;
    TORCH_CHECK_VALUE(rows >= normed_steps, "steps must have at least T = ", T, " steps, got ", rows);
    check.shape(steps, "steps", {3, 2, rows, B}, "(3, 2, M + T, B)");
    check.shape(dsteps, "dsteps", {3, 2, rows, B}, "(3, 2, M + T, B)");
    check.shape(windows, "windows", {3, 2, normed_steps, B}, "(3, 2, T, B)");
    check.shape(kept_ih, "kept_ih", {normed_steps, B, 4 * H}, "(T, B, 4H), T = 0 without a norm,");
    check.shape(kept_hh, "kept_hh", {normed_steps, B, 4 * H}, "(T, B, 4H), T = 0 without a norm,");
    check.shape(gates, "gates", {T, B, 4 * H}, "(T, B, 4H)");
    Check::epsilon(eps);
  }
};

// da_ih, da_hh (T, B, 4H), dgamma_ih, dgamma_hh, dbias (4H,), dgamma_c, dbeta_c (H,), dh_0, dc_0 (B, H),
// dmemory (3, 2, M, B). Without a norm da_ih is da_hh and comes back empty.
using LayerGradients = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

template <typename S>
Tensor total(std::vector<Sums<S>>& sums, RowSum<S> Sums<S>::*member, int64_t n, const at::TensorOptions& options) {
  const auto out = at::zeros({n}, options);
  for (auto& one : sums) (one.*member).add_to(out.data_ptr<S>());
  return out;
}

inline LayerGradients run(const LSTMBackwardArguments& given) {
  given.check();
  const int64_t T = given.h.size(0), B = given.h.size(1), H = given.h.size(2);
  const int64_t normed_steps = given.k > 0 ? T : 0, M = given.steps.size(2) - normed_steps;
  const auto options = given.h.options();
  const auto dh = at::zeros({B, H}, options), dc = at::zeros({B, H}, options);
  const auto da_ih = at::empty({normed_steps, B, 4 * H}, options), da_hh = at::empty({T, B, 4 * H}, options);
  const auto dwindows = at::empty_like(given.steps);
  const auto dsteps = given.dsteps ? given.dsteps->clone() : at::zeros_like(given.steps);
  dwindows.narrow(2, 0, M).zero_();
  const LayerTensors tensors{
      .h = given.h,
      .c = given.c,
      .steps = given.steps,
      .xhat_ih = given.kept_ih,
      .xhat_hh = given.kept_hh,
      .gates = given.gates,
      .windows = given.windows,
      .gamma_ih = given.gamma_ih,
      .gamma_hh = given.gamma_hh,
      .gamma_c = given.gamma_c,
      .beta_c = given.beta_c,
      .c_0 = given.c_0,
      .k = given.k,
      .eps = given.eps,
  };
  LayerGradients out;
  AT_DISPATCH_FLOATING_TYPES(given.h.scalar_type(), "atn_lstm_backward", [&] {
    using S = scalar_t;
    const typename LayerBackward<S>::Buffers buffers{
        .dh_out = data<S>(given.dh),
        .dc_out = data<S>(given.dc),
        .dh = dh.data_ptr<S>(),
        .dc = dc.data_ptr<S>(),
        .da_ih = da_ih.data_ptr<S>(),
        .da_hh = da_hh.data_ptr<S>(),
        .ih = buffers_of<S>(dwindows[0], dsteps[0]),
        .hh = buffers_of<S>(dwindows[1], dsteps[1]),
        .c = buffers_of<S>(dwindows[2], dsteps[2]),
    };
    LayerBackward<S> backward(tensors.layer<S>(), buffers);
    const int64_t parts = parts_of(B);
    std::vector<Sums<S>> sums(parts, Sums<S>(H));
    const Panels<S> weight({.data = given.weight_hh.const_data_ptr<S>(),
                            .inner = 4 * H,
                            .columns = H,
                            .inner_stride = H,
                            .column_stride = 1,
                            .products = T});
    if (given.weight_hh.numel() >= WEIGHTS_OF_A_JOINT_STEP) {
      const int64_t panels = weight.all().to;
      for (int64_t t = T - 1; t >= 0; --t) {
        in_parts(B, parts, [&](int64_t part, Range cases) {
          backward.pointwise(t, cases.from, cases.to, sums[part]);
        });
        in_parts(panels, parts_of(panels), [&](int64_t, Range some) { backward.product(weight, t, {0, B}, some); });
      }
      backward.finish(0, B);
    } else {
      in_parts(B, parts, [&](int64_t part, Range cases) {
        for (int64_t t = T - 1; t >= 0; --t) {
          backward.pointwise(t, cases.from, cases.to, sums[part]);
          backward.product(weight, t, cases, weight.all());
        }
        backward.finish(cases.from, cases.to);
      });
    }
    out = {da_ih,
           da_hh,
           total(sums, &Sums<S>::gamma_ih, 4 * H, options),
           total(sums, &Sums<S>::gamma_hh, 4 * H, options),
           total(sums, &Sums<S>::bias, 4 * H, options),
           total(sums, &Sums<S>::gamma_c, H, options),
           total(sums, &Sums<S>::beta_c, H, options),
           dh,
           dc,
           dsteps.narrow(2, 0, M).contiguous()};
  });
  return out;
}

}  // namespace atn
