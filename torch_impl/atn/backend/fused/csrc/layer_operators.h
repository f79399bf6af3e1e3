// The operators of a layer: checks, allocation, threads, and the order of the time loops. k = 0 stands for no norm.

#pragma once

#include <torch/library.h>

#include <tuple>
#include <vector>

#include "checks.h"
#include "layer_backward.h"
#include "layer_forward.h"
#include "norm_operators.h"
#include "weight_gradient.h"

namespace atn {

// The arrays of a layer and the settings of its norms. An array of one step in the place of T is one that every step
// overwrites.
struct LayerTensors {
  const Tensor &h, &c;              // (T, B, H); c (T or 1, B, H)
  const Tensor& steps;              // (3, 2, M + T, B), of the norms ih, hh and c
  const Tensor &rows_ih, &rows_hh;  // (T or 1, B, 4H)
  const Tensor& gates;              // (T or 1, B, 4H)
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
        .bias_ih = nullptr,
        .bias_hh = nullptr,
        .bias = nullptr,
        .h_0 = nullptr,
        .c_0 = c_0.const_data_ptr<S>(),
        .ih = norm_of<S>(steps[0], windows[0], of_ih),
        .hh = norm_of<S>(steps[1], windows[1], of_hh),
        .c = norm_of<S>(steps[2], windows[2], of_c),
        .rows_ih = rows_of<S>(rows_ih),
        .rows_hh = rows_of<S>(rows_hh),
        .gates = rows_of<S>(gates),
        .cell = rows_of<S>(c),
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
    check.epsilon(eps);
    if (k == 0) Check::absent(bias_hh, "bias_hh"), Check::absent(bias, "bias");  // bias_ih is all there is
  }
};

// All steps, from the first to the last: writes every array of `tensors`.
inline void run_steps(const LSTMForwardArguments& given, const LayerTensors& tensors) {
  const int64_t T = given.x.size(0);
  AT_DISPATCH_FLOATING_TYPES(given.x.scalar_type(), "atn_lstm_forward", [&] {
    using S = scalar_t;
    auto layer = tensors.layer<S>();
    const auto of_input = given.k > 0 ? given.bias_ih : OptionalTensor(), of_gates = given.k > 0 ? given.bias : given.bias_ih;
    layer.bias_ih = data<S>(of_input), layer.bias_hh = data<S>(given.bias_hh), layer.bias = data<S>(of_gates);
    layer.h_0 = given.h_0.const_data_ptr<S>();
    LayerForward<S> forward(layer);
    const auto input = input_product_of<S>(given.x, given.weight_ih, T);
    forward_in_time(forward, input, panels_of_rows<S>(given.weight_hh, T), T, steps_are_joint(given.weight_hh));
  });
}

// h, c (T, B, H), steps (3, 2, M + T, B), and what the backward pass reads: rows_ih, rows_hh, gates (T, B, 4H) and windows
// (3, 2, T, B). Of the rows of 4H those are kept that cost more to compute again: with a norm rows_hh, and rows_ih for an
// input of many features; without one the gates. The others come back empty.
using LayerOutput = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

inline LayerOutput run(const LSTMForwardArguments& given) {
  given.check();
  const int64_t T = given.x.size(0), B = given.x.size(1), I = given.x.size(2), H = given.h_0.size(1);
  const bool normed = given.k > 0, keep_input = normed && I > MOST_INPUTS_COMPUTED_AGAIN;
  const auto options = given.x.options();
  const auto rows = [&](bool kept) { return at::empty({kept ? T : 1, B, 4 * H}, options); };
  const auto h = at::empty({T, B, H}, options), c = at::empty({T, B, H}, options);
  const auto rows_ih = rows(keep_input), rows_hh = rows(normed), gates = rows(!normed);
  const Statistics statistics(given.memory, T, given.k);
  run_steps(given, {
                       .h = h,
                       .c = c,
                       .steps = statistics.steps,
                       .rows_ih = rows_ih,
                       .rows_hh = rows_hh,
                       .gates = gates,
                       .windows = statistics.windows,
                       .gamma_ih = given.gamma_ih,
                       .gamma_hh = given.gamma_hh,
                       .gamma_c = given.gamma_c,
                       .beta_c = given.beta_c,
                       .c_0 = given.c_0,
                       .k = given.k,
                       .eps = given.eps,
                   });
  const auto kept = [&](const Tensor& array, bool is_kept) {
    return is_kept ? array : at::empty({0, B, 4 * H}, options);
  };
  return {h,
          c,
          statistics.steps,
          kept(rows_ih, keep_input),
          kept(rows_hh, normed),
          kept(gates, !normed),
          statistics.windows};
}

// h (T, B, H), the last c (B, H), and the statistics of the last min(M + T, k - 1) steps (3, 2, M', B).
using InferenceOutput = std::tuple<Tensor, Tensor, Tensor>;

// The forward pass where nothing asks for a gradient: the same numbers, and nothing is kept for a backward pass.
inline InferenceOutput infer(const LSTMForwardArguments& given) {
  given.check();
  const int64_t T = given.x.size(0), B = given.x.size(1), H = given.h_0.size(1);
  const auto options = given.x.options();
  const auto h = at::empty({T, B, H}, options), c = at::empty({1, B, H}, options);
  const auto rows_ih = at::empty({1, B, 4 * H}, options), rows_hh = at::empty({1, B, 4 * H}, options);
  const Statistics statistics(given.memory, T, given.k);
  run_steps(given, {
                       .h = h,
                       .c = c,
                       .steps = statistics.steps,
                       .rows_ih = rows_ih,
                       .rows_hh = rows_hh,
                       .gates = rows_hh,  // in the place of what they are computed from
                       .windows = statistics.windows,
                       .gamma_ih = given.gamma_ih,
                       .gamma_hh = given.gamma_hh,
                       .gamma_c = given.gamma_c,
                       .beta_c = given.beta_c,
                       .c_0 = given.c_0,
                       .k = given.k,
                       .eps = given.eps,
                   });
  return {h, c.view({B, H}), statistics.carried(given.k)};
}

struct LSTMBackwardArguments {
  const OptionalTensor &dh, &dc;              // (T, B, H)
  const OptionalTensor& dsteps;               // (3, 2, M + T, B)
  const Tensor& x;                            // (T, B, I)
  const Tensor &weight_ih, &weight_hh;        // (4H, I), (4H, H)
  const OptionalTensor &bias_ih, &bias_hh, &bias;  // (4H,), as the forward pass had them
  const OptionalTensor &gamma_ih, &gamma_hh;  // (4H,)
  const OptionalTensor &gamma_c, &beta_c;     // (H,)
  const Tensor &h_0, &c_0;                    // (B, H)
  const Tensor &h, &c, &steps, &kept_ih, &kept_hh, &gates, &windows;  // what the forward pass gave
  int64_t k;
  double eps;
  bool needs_x, needs_weights;  // whether these gradients are wanted

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
    check.shape(h_0, "h_0", {B, H}, "(B, H)");
    check.shape(c_0, "c_0", {B, H}, "(B, H)");
    Check::rank(x, "x", 3, "(T, B, I)");
    const int64_t I = x.size(2);
    Check::at_least_one(I, "x", "I");
    check.shape(x, "x", {T, B, I}, "(T, B, I)");
    check.shape(weight_ih, "weight_ih", {4 * H, I}, "(4H, I)");
    check.shape(weight_hh, "weight_hh", {4 * H, H}, "(4H, H)");
    check.shape(bias_ih, "bias_ih", {4 * H}, "(4H,)");
    check.shape(bias_hh, "bias_hh", {4 * H}, "(4H,)");
    check.shape(bias, "bias", {4 * H}, "(4H,)");
    check_gains(check, gamma_ih, gamma_hh, gamma_c, beta_c, H, k);
    Check::rank(steps, "steps", 4, "(3, 2, M + T, B)");
    const int64_t rows = k > 0 ? steps.size(2) : 0;
    TORCH_CHECK_VALUE(rows >= normed_steps, "steps must have at least T = ", T, " steps, got ", rows);
    check.shape(steps, "steps", {3, 2, rows, B}, "(3, 2, M + T, B)");
    check.shape(dsteps, "dsteps", {3, 2, rows, B}, "(3, 2, M + T, B)");
    check.shape(windows, "windows", {3, 2, normed_steps, B}, "(3, 2, T, B)");
    const int64_t kept_steps = I > MOST_INPUTS_COMPUTED_AGAIN ? normed_steps : 0;
    check.shape(kept_ih, "kept_ih", {kept_steps, B, 4 * H}, "(T, B, 4H), T = 0 where they are computed again,");
    check.shape(kept_hh, "kept_hh", {normed_steps, B, 4 * H}, "(T, B, 4H), T = 0 without a norm,");
    check.shape(gates, "gates", {T - normed_steps, B, 4 * H}, "(T, B, 4H), T = 0 with a norm,");
    check.epsilon(eps);
  }
};

// dx (T, B, I), dweight_ih (4H, I), dweight_hh (4H, H), dbias_ih, dbias_hh, dgamma_ih, dgamma_hh, dbias (4H,), dgamma_c,
// dbeta_c (H,), dh_0, dc_0 (B, H), dmemory (3, 2, M, B). The first five come back empty, (0,), where they are not wanted
// or there is no such bias.
using LayerGradients = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor,
                                  Tensor, Tensor>;

// The gradients of the two products of a layer.
struct ProductTensors {
  Tensor x, weight_ih, weight_hh, bias_ih, bias_hh;

  // Room for what is wanted; sums start from 0.
  explicit ProductTensors(const LSTMBackwardArguments& given) {
    const auto options = given.h.options();
    const auto none = [&] { return at::empty({0}, options); };
    x = given.needs_x ? at::empty_like(given.x) : none();
    weight_ih = given.needs_weights ? at::zeros_like(given.weight_ih) : none();
    weight_hh = given.needs_weights ? at::zeros_like(given.weight_hh) : none();
    bias_ih = given.bias_ih ? at::zeros_like(*given.bias_ih) : none();
    bias_hh = given.bias_hh ? at::zeros_like(*given.bias_hh) : none();
  }

  // Those of the parameters from the gradients of the preactivations of all steps (T, B, 4H), for a large layer: with
  // BLAS.
  void compute_parameters(const LSTMBackwardArguments& given, const Tensor& da_ih, const Tensor& da_hh) {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const c10::impl::ExcludeDispatchKeyGuard as_they_are(c10::autocast_dispatch_keyset);  // the caller may have it on
    const int64_t T = given.h.size(0), H = given.h.size(2), I = given.x.size(2);
    const auto rows_ih = da_ih.view({-1, 4 * H}), rows_hh = da_hh.view({-1, 4 * H});
    if (given.needs_weights) {
      weight_ih = weight_gradient(rows_ih, given.x.view({-1, I}));
      weight_hh = weight_gradient(da_hh[0], given.h_0);
      const auto later = da_hh.narrow(0, 1, T - 1), before = given.h.narrow(0, 0, T - 1);
      if (T > 1) weight_hh += weight_gradient(later.view({-1, 4 * H}), before.view({-1, H}));
    }
    if (given.bias_ih) bias_ih = rows_ih.sum(0);
    if (given.bias_hh) bias_hh = rows_hh.sum(0);
  }

 private:
  // Of many rows BLAS takes up to two thirds of the time for the transposed product; of few, it takes longer.
  static Tensor weight_gradient(const Tensor& rows, const Tensor& inputs) {
    return rows.size(0) < 256 ? rows.t().mm(inputs) : inputs.t().mm(rows).t().contiguous();
  }
};

inline LayerGradients run(const LSTMBackwardArguments& given) {
  given.check();
  const int64_t T = given.h.size(0), B = given.h.size(1), H = given.h.size(2), I = given.x.size(2);
  const bool normed = given.k > 0, again = normed && given.kept_ih.size(0) == 0;
  const bool joint = steps_are_joint(given.weight_hh);
  const int64_t M = given.steps.size(2) - (normed ? T : 0), parts = parts_of(B);
  const auto options = given.h.options();
  const auto dh = at::zeros({B, H}, options), dc = at::zeros({B, H}, options);
  const auto dwindows = at::empty_like(given.steps);
  const auto dsteps = given.dsteps ? given.dsteps->clone() : at::zeros_like(given.steps);
  dwindows.narrow(2, 0, M).zero_();
  ProductTensors products(given);
  LayerGradients out;
  AT_DISPATCH_FLOATING_TYPES(given.h.scalar_type(), "atn_lstm_backward", [&] {
    using S = scalar_t;
    const int64_t cases = parts > 0 ? (B + parts - 1) / parts : 0, ring = joint ? T : steps_at_once<S>(cases, T);
    const auto da_hh = at::empty({ring, B, 4 * H}, options), da_ih = normed ? at::empty_like(da_hh) : da_hh;
    const auto rows = [&](const Tensor& da) { return joint ? rows_of<S>(da) : ring_of<S>(da); };
    const LayerTensors tensors{
        .h = given.h,
        .c = given.c,
        .steps = given.steps,
        .rows_ih = given.kept_ih,
        .rows_hh = given.kept_hh,
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
    auto layer = tensors.layer<S>();
    layer.bias_ih = data<S>(given.bias_ih), layer.bias = data<S>(given.bias);
    layer.h_0 = given.h_0.const_data_ptr<S>();
    // What is not kept is computed again, where its gradient will be written.
    if (again) layer.rows_ih = rows(da_ih);
    if (normed) layer.gates = rows(da_hh);
    const typename LayerBackward<S>::Buffers buffers{
        .dh_out = data<S>(given.dh),
        .dc_out = data<S>(given.dc),
        .dh = dh.data_ptr<S>(),
        .dc = dc.data_ptr<S>(),
        .da_ih = rows(da_ih),
        .da_hh = rows(da_hh),
        .ih = buffers_of<S>(dwindows[0], dsteps[0]),
        .hh = buffers_of<S>(dwindows[1], dsteps[1]),
        .c = buffers_of<S>(dwindows[2], dsteps[2]),
    };
    LayerBackward<S> backward(layer, buffers);
    std::optional<InputProduct<S>> input;
    if (again) input.emplace(input_product_of<S>(given.x, given.weight_ih, T));
    std::vector<Sums<S>> sums(parts, Sums<S>(H));
    const auto weight_hh = panels_of_columns<S>(given.weight_hh, T);
    std::optional<Panels<S>> weight_ih;
    if (given.needs_x) weight_ih.emplace(panels_of_columns<S>(given.weight_ih, T));
    S* dx = products.x.template data_ptr<S>();
    if (joint) {
      backward_in_time(backward, input, weight_hh, sums, T, B, joint, [](int64_t, int64_t, Range) {});
      products.compute_parameters(given, da_ih, da_hh);
      if (weight_ih) weight_ih->times_in_parts(da_ih.const_data_ptr<S>(), dx, T * B);
    } else {
      const typename ProductGradients<S>::Wanted wanted{
          .weights = given.needs_weights, .bias_ih = given.bias_ih.has_value(), .bias_hh = given.bias_hh.has_value()};
      std::vector<ProductGradients<S>> gradients(parts, ProductGradients<S>(4 * H, I, H, wanted));
      const S* x = given.x.const_data_ptr<S>();
      backward_in_time(backward, input, weight_hh, sums, T, B, joint, [&](int64_t part, int64_t t, Range some) {
        const S *of_input = buffers.da_ih.at(t, some.from), *of_state = buffers.da_hh.at(t, some.from);
        const int64_t first = (t * B + some.from) * I;
        if (weight_ih) weight_ih->times(of_input, dx + first, some.count(), weight_ih->all());
        const S* h_prev = layer.previous_h(t) + some.from * H;
        gradients[part].add({of_input, x + first}, {of_state, h_prev}, some.count());
        if (t % ring == 0) gradients[part].flush(some.count());  // the oldest step of the ring, or the first of all
      });
      for (auto& part : gradients)
        part.add_to(products.weight_ih.template data_ptr<S>(), products.weight_hh.template data_ptr<S>(),
                    products.bias_ih.template data_ptr<S>(), products.bias_hh.template data_ptr<S>());
    }
    out = {products.x,
           products.weight_ih,
           products.weight_hh,
           products.bias_ih,
           products.bias_hh,
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
