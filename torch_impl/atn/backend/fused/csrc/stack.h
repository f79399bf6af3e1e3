// Inference of all layers of an LSTM in one call: what a single step would otherwise spend in Python costs as much as
// its arithmetic. The numbers are those of the layers one by one.

#pragma once

#include <ATen/ATen.h>
#include <ATen/core/LegacyTypeDispatch.h>

#include <initializer_list>
#include <optional>
#include <tuple>
#include <vector>

#include "layer_operators.h"

namespace atn {

// Which parameters a layer has, and what its norms are. k = 0 is no norm.
struct StackSettings {
  int64_t H, k;
  double eps;
  bool biased;  // bias_ih and bias_hh
  bool affine;  // gain and shift of each norm
  bool inside;  // the biases are inside the norms

  size_t parameters_of_a_layer() const { return 2 + (biased ? 2 : 0) + (affine ? 6 : 0); }
};

// The parameters of one layer, contiguous.
struct LayerParameters {
  Tensor weight_ih, weight_hh;                                                            // (4H, I), (4H, H)
  OptionalTensor bias_ih, bias_hh;                                                        // (4H,)
  OptionalTensor gamma_ih, beta_ih, gamma_hh, beta_hh, gamma_c, beta_c;                   // (4H,), of the cell (H,)

  LayerParameters(const at::Tensor* given, const StackSettings& settings) {
    const auto next = [&] { return (given++)->contiguous(); };
    weight_ih = next(), weight_hh = next();
    if (settings.biased) bias_ih = next(), bias_hh = next();
    if (!settings.affine) return;
    gamma_ih = next(), beta_ih = next(), gamma_hh = next(), beta_hh = next(), gamma_c = next(), beta_c = next();
  }
};

// The sum of the vectors (n,) that are there, from left to right; none if there is none.
inline OptionalTensor total(std::initializer_list<const OptionalTensor*> terms, int64_t n, const Check& check) {
  OptionalTensor sum;
  for (const auto* term : terms) {
    check.shape(*term, "bias", {n}, "(4H,)");
    if (*term) sum = sum ? at::add(*sum, **term) : **term;
  }
  return sum;
}

struct StackArguments {
  const Tensor& x;                   // (T, B, I)
  at::TensorList parameters;         // of each layer, in the order of `LayerParameters`
  const OptionalTensor &h_0, &c_0;   // (L, B, H); zeros where there is none
  at::TensorList memory;             // of each layer mean and variance of the norms ih, hh and c, (M, B); or none at all
  StackSettings settings;

  int64_t layers() const { return static_cast<int64_t>(parameters.size() / settings.parameters_of_a_layer()); }

  void check(const Check& check) const {
    const size_t each = settings.parameters_of_a_layer();
    TORCH_CHECK_VALUE(!parameters.empty() && parameters.size() % each == 0, "parameters must be ", each,
                      " of each layer, got ", parameters.size());
    TORCH_CHECK_VALUE(settings.H >= 1, "H must be at least 1, got ", settings.H);
    Check::window(settings.k, 0);
    const int64_t L = layers(), B = x.size(1);
    check.shape(h_0, "h_0", {L, B, settings.H}, "(L, B, H)");
    check.shape(c_0, "c_0", {L, B, settings.H}, "(L, B, H)");
    TORCH_CHECK_VALUE(memory.empty() || memory.size() == static_cast<size_t>(settings.k > 0 ? 6 * L : 0),
                      "memory must have mean and variance of three norms for each of ", L, " layers, got ",
                      memory.size(), " tensors");
    for (const auto& rows : memory) {
      Check::rank(rows, "memory", 2, "(M, B)");
      const int64_t M = memory[0].size(0);
      TORCH_CHECK_VALUE(M < settings.k, "memory must have at most k - 1 = ", settings.k - 1, " steps, got ", M);
      check.shape(rows, "memory", {M, B}, "(M, B)");
    }
  }
};

// h of the last layer (T, B, H), the last h and c of each (L, B, H), and the memory of the next chunk, as it is given.
using StackOutput = std::tuple<Tensor, Tensor, Tensor, std::vector<Tensor>>;

// Statistics (3, 2, M, B) from six arrays (M, B), and back.
inline Tensor packed(at::TensorList rows, const Tensor& x) {
  if (rows.empty()) return at::empty({3, 2, 0, x.size(1)}, x.options());
  return at::stack(rows).view({3, 2, rows[0].size(0), rows[0].size(1)});
}

inline void unpack(const Tensor& memory, std::vector<Tensor>& out) {
  for (int64_t n = 0; n < 3; ++n)
    for (int64_t s = 0; s < 2; ++s) out.push_back(memory[n][s].clone());
}

inline StackOutput infer(const StackArguments& given) {
  // Nothing asks for a gradient, so no operation below has to be told to autograd.
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  const auto& settings = given.settings;
  auto out = given.x.contiguous();
  const Check check(out, "x", 3, "(T, B, I)");
  given.check(check);
  const int64_t L = given.layers(), B = out.size(1), H = settings.H;
  const auto options = out.options();
  const auto zeros = given.h_0 && given.c_0 ? Tensor() : at::zeros({B, H}, options);
  const auto h_n = at::empty({L, B, H}, options), c_n = at::empty({L, B, H}, options);
  std::vector<Tensor> memory;
  for (int64_t l = 0; l < L; ++l) {
    const LayerParameters layer(given.parameters.data() + l * settings.parameters_of_a_layer(), settings);
    const bool normed = settings.k > 0, inside = normed && settings.inside;
    const OptionalTensor none;
    const auto sum = inside ? total({&layer.beta_ih, &layer.beta_hh}, 4 * H, check)
                            : total({&layer.bias_ih, &layer.bias_hh, &layer.beta_ih, &layer.beta_hh}, 4 * H, check);
    const auto before = given.memory.empty() ? given.memory : given.memory.slice(6 * l, 6);
    const auto computed = infer(LSTMForwardArguments{
        .x = out,
        .weight_ih = layer.weight_ih,
        .weight_hh = layer.weight_hh,
        .bias_ih = inside ? layer.bias_ih : normed ? none : sum,
        .bias_hh = inside ? layer.bias_hh : none,
        .bias = normed ? sum : none,
        .gamma_ih = layer.gamma_ih,
        .gamma_hh = layer.gamma_hh,
        .gamma_c = layer.gamma_c,
        .beta_c = layer.beta_c,
        .h_0 = given.h_0 ? (*given.h_0)[l] : zeros,
        .c_0 = given.c_0 ? (*given.c_0)[l] : zeros,
        .memory = packed(before, out),
        .k = settings.k,
        .eps = settings.eps,
    });
    out = std::get<0>(computed);
    h_n[l].copy_(out[-1]);
    c_n[l].copy_(std::get<1>(computed));
    if (normed) unpack(std::get<2>(computed), memory);
  }
  return {out, h_n, c_n, memory};
}

}  // namespace atn
