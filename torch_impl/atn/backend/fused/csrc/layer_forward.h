// The forward pass of a layer: Eqs. (14)-(16), which layer.h writes out.

#pragma once

#include "layer.h"

namespace atn {

template <typename S>
class LayerForward {
 public:
  explicit LayerForward(const Layer<S>& layer) : layer_(layer), ih_(layer.ih), hh_(layer.hh), c_(layer.c) {}

  // Takes in the windows' memory, for cases [from, to). Before any step.
  void start(int64_t from, int64_t to) {
    ih_.start(from, to), hh_.start(from, to), c_.start(from, to);
  }

  // For some of the cases, the columns of some panels of weight, W_hh^T.
  void product(const Panels<S>& weight, int64_t t, Range cases, Range panels) const {
    const int64_t H = layer_.H;
    weight.times(layer_.previous_h(t) + cases.from * H, layer_.recurrent(t) + cases.from * 4 * H, cases.count(), panels);
  }

  // All that follows the products, for cases [from, to) of step t.
  void pointwise(int64_t t, int64_t from, int64_t to) {
    if (layer_.normed) {
      for (int64_t b = from; b < to; ++b) preactivation_row(t, b);
      hh_.window(t, from, to);
      ih_.window(t, from, to);
    }
    for (int64_t b = from; b < to; ++b) gate_row(t, b);
    if (layer_.normed) c_.window(t, from, to);
    for (int64_t b = from; b < to; ++b) output_row(t, b);
  }

 private:
  void preactivation_row(int64_t t, int64_t b) const {
    const int64_t G = 4 * layer_.H;
    const S* bias_hh = layer_.bias_hh;
    S* row = layer_.recurrent(t) + b * G;
    if (bias_hh)
      for_vectors<S>(G, [&](int64_t j, int64_t n) { store(load(row + j, n) + load(bias_hh + j, n), row + j, n); });
    hh_.step(t, b, row);
    ih_.step(t, b, layer_.xhat_ih + (t * layer_.B + b) * G);
  }

  void gate_row(int64_t t, int64_t b) const {
    const int64_t H = layer_.H, G = 4 * H, i = t * layer_.B + b;
    const Norm<S>&ih = layer_.ih, &hh = layer_.hh;
    S* x = layer_.xhat_ih + i * G;
    S* r = layer_.recurrent(t) + b * G;
    S* out = layer_.gates + i * G;
    if (layer_.normed) {
      normalize_row(x, G, ih.mean[i], ih.rstd[i]);
      normalize_row(r, G, hh.mean[i], hh.rstd[i]);
    }
    const S* c_prev = layer_.previous_c(t) + b * H;
    S* c_row = layer_.cell + i * H;
    const S* bias = layer_.bias;
    const auto preactivation = [&](int64_t j, int64_t n) {
      auto a = load(x + j, n), u = load(r + j, n);
      if (ih.gamma) a = a * load(ih.gamma + j, n);
      if (hh.gamma) u = u * load(hh.gamma + j, n);
      a = a + u;
      return bias ? a + load(bias + j, n) : a;
    };
    for_vectors<S>(H, [&](int64_t j, int64_t n) {
      const auto ig = sigmoid(preactivation(j, n)), fg = sigmoid(preactivation(j + H, n));
      const auto gg = preactivation(j + 2 * H, n).tanh(), og = sigmoid(preactivation(j + 3 * H, n));
      store(ig, out + j, n), store(fg, out + j + H, n), store(gg, out + j + 2 * H, n), store(og, out + j + 3 * H, n);
      store(fg * load(c_prev + j, n) + ig * gg, c_row + j, n);
    });
    if (layer_.normed) c_.step(t, b, c_row);
  }

  void output_row(int64_t t, int64_t b) const {
    const int64_t H = layer_.H, i = t * layer_.B + b;
    const S* o = layer_.gates + i * 4 * H + 3 * H;
    S* h = layer_.h + i * H;
    for_vectors<S>(H, [&](int64_t j, int64_t n) {
      store(load(o + j, n) * layer_.z(layer_.xhat_c(i, j, n), j, n).tanh(), h + j, n);
    });
  }

  Layer<S> layer_;
  NormForward<S> ih_, hh_, c_;
};

}  // namespace atn
