// The operators of a layer of a cell whose only state is h: checks, allocation, and the cells by their names.
// k = 0 stands for no norm.

#pragma once

#include <torch/library.h>

#include <string_view>
#include <tuple>
#include <type_traits>
#include <vector>

#include "checks.h"
#include "gru.h"
#include "norm_operators.h"
#include "rnn.h"

namespace atn {

// Calls body(std::type_identity<Cell>()) with the cell of a name, which is one of torch.nn.RNNBase.mode.
template <typename S, typename F>
void with_cell(std::string_view mode, const F& body) {
  if (mode == "RNN_TANH") return body(std::type_identity<RNN<S, Tanh>>());
  if (mode == "RNN_RELU") return body(std::type_identity<RNN<S, Relu>>());
  if (mode == "GRU") return body(std::type_identity<GRU<S>>());
  TORCH_CHECK_VALUE(false, "mode must be 'RNN_TANH', 'RNN_RELU' or 'GRU', got '", mode, "'");
}

// The sizes of a cell; an unknown name is refused.
struct CellSizes {
  int64_t blocks, kept;
  bool rows_differ;

  explicit CellSizes(std::string_view mode) {
    with_cell<float>(mode, [&](auto cell) {
      using Cell = typename decltype(cell)::type;
      blocks = Cell::BLOCKS, kept = Cell::KEPT, rows_differ = Cell::ROWS_DIFFER;
    });
  }
};

// Gains and shifts of the two norms of a layer, (N,) each.
struct HiddenAffine {
  const OptionalTensor &gamma_ih, &beta_ih, &gamma_hh, &beta_hh;

  void check(const Check& check, int64_t N, int64_t k) const {
    const auto one = [&](const OptionalTensor& tensor, const char* name) {
      if (k == 0) Check::absent(tensor, name);
      check.shape(tensor, name, {N}, "(G*H,)");
    };
    one(gamma_ih, "gamma_ih"), one(beta_ih, "beta_ih"), one(gamma_hh, "gamma_hh"), one(beta_hh, "beta_hh");
  }
};

// The arrays of a layer and the settings of its norms. An array of one step in the place of T is one that every step
// overwrites.
struct HiddenTensors {
  const Tensor& h_0;                // (B, H)
  const Tensor& h;                  // (T, B, H)
  const Tensor &steps, &windows;    // (2, 2, M + T, B) and (2, 2, T, B), of the norms ih and hh
  const Tensor &rows_ih, &rows_hh;  // (T or 1, B, N)
  const Tensor& kept;               // (T, B, KEPT * H), or undefined
  const OptionalTensor &bias_ih, &bias_hh;
  HiddenAffine affine;
  int64_t k;
  double eps;

  template <typename S>
  HiddenLayer<S> layer() const {
    const int64_t N = rows_hh.size(2);
    return {
        .T = h.size(0),
        .B = h.size(1),
        .H = h.size(2),
        .normed = k > 0,
        .bias_ih = data<S>(bias_ih),
        .bias_hh = data<S>(bias_hh),
        .h_0 = h_0.const_data_ptr<S>(),
        .ih = norm_of<S>(steps[0], windows[0],
                         {.N = N, .k = k, .eps = eps, .gamma = affine.gamma_ih, .beta = affine.beta_ih}),
        .hh = norm_of<S>(steps[1], windows[1],
                         {.N = N, .k = k, .eps = eps, .gamma = affine.gamma_hh, .beta = affine.beta_hh}),
        .rows_ih = rows_of<S>(rows_ih),
        .rows_hh = rows_of<S>(rows_hh),
        .kept = kept.defined() ? rows_of<S>(kept) : StepRows<S>{},
        .h = h.data_ptr<S>(),
    };
  }
};

struct HiddenForwardArguments {
  const Tensor& x;                          // (T, B, I)
  const Tensor &weight_ih, &weight_hh;      // (N, I), (N, H)
  const OptionalTensor &bias_ih, &bias_hh;  // (N,), inside the norms
  HiddenAffine affine;
  const Tensor& h_0;     // (B, H)
  const Tensor& memory;  // (2, 2, M, B)
  std::string_view mode;
  int64_t k;
  double eps;

  void check() const {
    const int64_t blocks = CellSizes(mode).blocks;
    const Check check(x, "x", 3, "(T, B, I)");
    const int64_t B = x.size(1), I = x.size(2);
    Check::at_least_one(x.size(0), "x", "T");
    Check::at_least_one(I, "x", "I");
    Check::rank(h_0, "h_0", 2, "(B, H)");
    const int64_t H = h_0.size(1), N = blocks * H;
    Check::at_least_one(H, "h_0", "H");
    check.shape(h_0, "h_0", {B, H}, "(B, H)");
    check.shape(weight_ih, "weight_ih", {N, I}, "(G*H, I)");
    check.shape(weight_hh, "weight_hh", {N, H}, "(G*H, H)");
    check.shape(bias_ih, "bias_ih", {N}, "(G*H,)");
    check.shape(bias_hh, "bias_hh", {N}, "(G*H,)");
    Check::window(k, 0);
    affine.check(check, N, k);
    Check::rank(memory, "memory", 4, "(2, 2, M, B)");
    check.shape(memory, "memory", {2, 2, k == 0 ? 0 : memory.size(2), B}, "(2, 2, M, B)");
    check.epsilon(eps);
  }
};

// All steps, from the first to the last: writes every array of `tensors`.
inline void run_steps(const HiddenForwardArguments& given, const HiddenTensors& tensors) {
  AT_DISPATCH_FLOATING_TYPES(given.x.scalar_type(), "atn_hidden_forward", [&] {
    using S = scalar_t;
    const int64_t T = given.x.size(0);
    const auto input = input_product_of<S>(given.x, given.weight_ih, T);
    const auto weight_hh = panels_of_rows<S>(given.weight_hh, T);
    with_cell<S>(given.mode, [&](auto cell) {
      HiddenForward<S, typename decltype(cell)::type> forward(tensors.layer<S>());
      forward_in_time(forward, input, weight_hh, T, steps_are_joint(given.weight_hh));
    });
  });
}

// h (T, B, H), steps (2, 2, M + T, B), and what the backward pass reads: rows_ih, rows_hh (T, B, N), what the cell keeps
// (T, B, KEPT * H), and windows (2, 2, T, B). With a norm rows_hh is kept, and rows_ih for an input of many features;
// without one what the cell keeps. The others come back empty.
using HiddenOutput = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

inline HiddenOutput run(const HiddenForwardArguments& given) {
  given.check();
  const int64_t T = given.x.size(0), B = given.x.size(1), I = given.x.size(2), N = given.weight_hh.size(0);
  const bool normed = given.k > 0, keep_input = normed && I > MOST_INPUTS_COMPUTED_AGAIN;
  const auto options = given.x.options();
  const auto h = at::empty({T, B, given.h_0.size(1)}, options);
  const auto rows_ih = at::empty({keep_input ? T : 1, B, N}, options);
  const auto rows_hh = at::empty({normed ? T : 1, B, N}, options);
  const auto kept = at::empty({normed ? 0 : T, B, CellSizes(given.mode).kept * h.size(2)}, options);
  const Statistics statistics(given.memory, T, given.k);
  const Tensor nothing;
  run_steps(given, {
                       .h_0 = given.h_0,
                       .h = h,
                       .steps = statistics.steps,
                       .windows = statistics.windows,
                       .rows_ih = rows_ih,
                       .rows_hh = rows_hh,
                       .kept = normed ? nothing : kept,
                       .bias_ih = given.bias_ih,
                       .bias_hh = given.bias_hh,
                       .affine = given.affine,
                       .k = given.k,
                       .eps = given.eps,
                   });
  const auto kept_rows = [&](const Tensor& rows, bool is_kept) {
    return is_kept ? rows : at::empty({0, B, N}, options);
  };
  return {h, statistics.steps, kept_rows(rows_ih, keep_input), kept_rows(rows_hh, normed), kept, statistics.windows};
}

// h (T, B, H), and the statistics of the last min(M + T, k - 1) steps (2, 2, M', B).
using HiddenInferenceOutput = std::tuple<Tensor, Tensor>;

// The forward pass where nothing asks for a gradient: the same numbers, and nothing is kept for a backward pass.
inline HiddenInferenceOutput infer(const HiddenForwardArguments& given) {
  given.check();
  const int64_t T = given.x.size(0), B = given.x.size(1), N = given.weight_hh.size(0);
  const auto options = given.x.options();
  const auto h = at::empty({T, B, given.h_0.size(1)}, options);
  const auto rows_ih = at::empty({1, B, N}, options), rows_hh = at::empty({1, B, N}, options);
  const Statistics statistics(given.memory, T, given.k);
  const Tensor nothing;
  run_steps(given, {
                       .h_0 = given.h_0,
                       .h = h,
                       .steps = statistics.steps,
                       .windows = statistics.windows,
                       .rows_ih = rows_ih,
                       .rows_hh = rows_hh,
                       .kept = nothing,
                       .bias_ih = given.bias_ih,
                       .bias_hh = given.bias_hh,
                       .affine = given.affine,
                       .k = given.k,
                       .eps = given.eps,
                   });
  return {h, statistics.carried(given.k)};
}

struct HiddenBackwardArguments {
  const OptionalTensor& dh;             // (T, B, H)
  const OptionalTensor& dsteps;         // (2, 2, M + T, B)
  const Tensor& x;                      // (T, B, I)
  const Tensor &weight_ih, &weight_hh;  // (N, I), (N, H)
  const OptionalTensor& bias_ih;        // (N,), as the forward pass had it
  HiddenAffine affine;
  const Tensor& h_0;                                               // (B, H)
  const Tensor &h, &steps, &kept_ih, &kept_hh, &gates, &windows;  // what the forward pass gave
  std::string_view mode;
  int64_t k;
  double eps;

  void check() const {
    const CellSizes sizes(mode);
    const Check check(h, "h", 3, "(T, B, H)");
    const int64_t T = h.size(0), B = h.size(1), H = h.size(2), N = sizes.blocks * H;
    Check::at_least_one(T, "h", "T");
    Check::at_least_one(H, "h", "H");
    Check::window(k, 0);
    const int64_t normed_steps = k > 0 ? T : 0;
    check.shape(dh, "dh", {T, B, H}, "(T, B, H)");
    check.shape(h_0, "h_0", {B, H}, "(B, H)");
    Check::rank(x, "x", 3, "(T, B, I)");
    const int64_t I = x.size(2);
    Check::at_least_one(I, "x", "I");
    check.shape(x, "x", {T, B, I}, "(T, B, I)");
    check.shape(weight_ih, "weight_ih", {N, I}, "(G*H, I)");
    check.shape(weight_hh, "weight_hh", {N, H}, "(G*H, H)");
    check.shape(bias_ih, "bias_ih", {N}, "(G*H,)");
    affine.check(check, N, k);
    Check::rank(steps, "steps", 4, "(2, 2, M + T, B)");
    const int64_t rows = k > 0 ? steps.size(2) : 0;
    TORCH_CHECK_VALUE(rows >= normed_steps, "steps must have at least T = ", T, " steps, got ", rows);
    check.shape(steps, "steps", {2, 2, rows, B}, "(2, 2, M + T, B)");
    check.shape(dsteps, "dsteps", {2, 2, rows, B}, "(2, 2, M + T, B)");
    check.shape(windows, "windows", {2, 2, normed_steps, B}, "(2, 2, T, B)");
    const int64_t kept_steps = I > MOST_INPUTS_COMPUTED_AGAIN ? normed_steps : 0;
    check.shape(kept_ih, "kept_ih", {kept_steps, B, N}, "(T, B, G*H), T = 0 where they are computed again,");
    check.shape(kept_hh, "kept_hh", {normed_steps, B, N}, "(T, B, G*H), T = 0 without a norm,");
    check.shape(gates, "gates", {T - normed_steps, B, sizes.kept * H}, "(T, B, 4H for a GRU), T = 0 with a norm,");
    check.epsilon(eps);
  }
};

// da_ih, da_hh (T, B, N), dgamma_ih, dbeta_ih, dgamma_hh, dbeta_hh (N,), dh_0 (B, H), dmemory (2, 2, M, B). Without a
// norm da_ih is da_hh in an RNN, and comes back empty; sums of what there is not are 0.
using HiddenGradients = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

inline HiddenGradients run(const HiddenBackwardArguments& given) {
  given.check();
  const CellSizes sizes(given.mode);
  const int64_t T = given.h.size(0), B = given.h.size(1), H = given.h.size(2), N = given.weight_hh.size(0);
  const bool normed = given.k > 0, again = normed && given.kept_ih.size(0) == 0;
  const int64_t M = given.steps.size(2) - (normed ? T : 0);
  const auto options = given.h.options();
  const auto dh = at::zeros({B, H}, options), direct = at::zeros({sizes.rows_differ ? B : 0, H}, options);
  const auto da_ih = at::empty({normed || sizes.rows_differ ? T : 0, B, N}, options);
  const auto da_hh = at::empty({T, B, N}, options);
  const auto upstream = at::empty({1, normed && sizes.rows_differ ? B : 0, N}, options);
  const auto dwindows = at::empty_like(given.steps);
  const auto dsteps = given.dsteps ? given.dsteps->clone() : at::zeros_like(given.steps);
  dwindows.narrow(2, 0, M).zero_();
  const OptionalTensor none;
  const HiddenTensors tensors{
      .h_0 = given.h_0,
      .h = given.h,
      .steps = given.steps,
      .windows = given.windows,
      // What is not kept is computed again, where its gradient will be written.
      .rows_ih = again ? da_ih : given.kept_ih,
      .rows_hh = given.kept_hh,
      .kept = given.gates,
      .bias_ih = given.bias_ih,
      .bias_hh = none,
      .affine = given.affine,
      .k = given.k,
      .eps = given.eps,
  };
  HiddenGradients out;
  AT_DISPATCH_FLOATING_TYPES(given.h.scalar_type(), "atn_hidden_backward", [&] {
    using S = scalar_t;
    std::optional<InputProduct<S>> input;
    if (again) input.emplace(input_product_of<S>(given.x, given.weight_ih, T));
    const auto weight_hh = panels_of_columns<S>(given.weight_hh, T);
    std::vector<HiddenSums<S>> sums(parts_of(B), HiddenSums<S>(N));
    with_cell<S>(given.mode, [&](auto cell) {
      using Backward = HiddenBackward<S, typename decltype(cell)::type>;
      Backward backward(tensors.layer<S>(), {
                                                .dh_out = data<S>(given.dh),
                                                .dh = dh.data_ptr<S>(),
                                                .direct = sizes.rows_differ ? direct.data_ptr<S>() : nullptr,
                                                .da_ih = da_ih.data_ptr<S>(),
                                                .da_hh = da_hh.data_ptr<S>(),
                                                .upstream = rows_of<S>(upstream),
                                                .ih = buffers_of<S>(dwindows[0], dsteps[0]),
                                                .hh = buffers_of<S>(dwindows[1], dsteps[1]),
                                            });
      backward_in_time(backward, input, weight_hh, sums, T, B, steps_are_joint(given.weight_hh),
                       [](int64_t, int64_t, Range) {});
    });
    out = {da_ih,
           da_hh,
           total(sums, &HiddenSums<S>::gamma_ih, N, options),
           total(sums, &HiddenSums<S>::beta_ih, N, options),
           total(sums, &HiddenSums<S>::gamma_hh, N, options),
           total(sums, &HiddenSums<S>::beta_hh, N, options),
           dh,
           dsteps.narrow(2, 0, M).contiguous()};
  });
  return out;
}

}  // namespace atn
