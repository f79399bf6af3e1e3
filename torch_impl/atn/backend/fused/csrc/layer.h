// One layer of the LSTM in one direction, step by step: Eqs. (14)-(16) and their gradient.
//
//     gates = ATN(W_hh h [+ b_hh]) + ATN(W_ih x [+ b_ih]) [+ b_ih + b_hh]        i, f, g, o
//     c     = sigmoid(f) * c + sigmoid(i) * tanh(g)
//     h     = sigmoid(o) * tanh(ATN(c))
//
// Every function works on a range of cases: cases never meet, neither in the statistics nor in the recurrence.
//
// Letters: T time, B cases, H hidden, G = 4H gate rows.

#pragma once

#include "norm.h"
#include "panels.h"

namespace atn {

// The forward pass, and what it keeps for the backward pass.
template <typename S>
struct Layer {
  int64_t T, B, H;
  bool normed;
  const S* bias_hh;  // (4H,), inside the norm, or null
  const S* bias;     // (4H,), all that is added to the gates after the norms, or null
  Norm<S> ih, hh, c;
  S* xhat_ih;       // (T, B, 4H): preactivations from the input, normalized in place
  S* xhat_hh;       // (T, B, 4H): the same from the state; (1, B, 4H), scratch, without a norm
  S* gates;      // (T, B, 4H): after their sigmoid or tanh
  S* cell;       // (T, B, H)
  S* h;          // (T, B, H)
  const S* h_0;  // (B, H), or null where no step is made
  const S* c_0;  // (B, H)

  const S* previous_h(int64_t t) const { return t == 0 ? h_0 : h + (t - 1) * B * H; }
  const S* previous_c(int64_t t) const { return t == 0 ? c_0 : cell + (t - 1) * B * H; }
  S* recurrent(int64_t t) const { return xhat_hh + (normed ? t * B * 4 * H : 0); }

  // For some of the cases, the columns of some panels of weight, W_hh^T.
  void product(const Panels<S>& weight, int64_t t, Range cases, Range panels) const {
    weight.times(previous_h(t) + cases.from * H, recurrent(t) + cases.from * 4 * H, cases.count(), panels);
  }

  void pointwise(int64_t t, int64_t from, int64_t to) const {
    if (normed) {
      for (int64_t b = from; b < to; ++b) preactivation_row(t, b);
      hh.window(t, from, to);
      ih.window(t, from, to);
    }
    for (int64_t b = from; b < to; ++b) gate_row(t, b);
    if (normed) c.window(t, from, to);
    for (int64_t b = from; b < to; ++b) output_row(t, b);
  }

  void preactivation_row(int64_t t, int64_t b) const {
    const int64_t G = 4 * H;
    S* row = recurrent(t) + b * G;
    if (bias_hh)
      for_vectors<S>(G, [&](int64_t j, int64_t n) { store(load(row + j, n) + load(bias_hh + j, n), row + j, n); });
    hh.step(t, b, row);
    ih.step(t, b, xhat_ih + (t * B + b) * G);
  }

  void gate_row(int64_t t, int64_t b) const {
    const int64_t G = 4 * H, i = t * B + b;
    S* x = xhat_ih + i * G;
    S* r = recurrent(t) + b * G;
    S* out = gates + i * G;
    if (normed) {
      normalize_row(x, G, ih.mean[i], ih.rstd[i]);
      normalize_row(r, G, hh.mean[i], hh.rstd[i]);
    }
    const S* c_prev = previous_c(t) + b * H;
    S* c_row = cell + i * H;
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
    if (normed) c.step(t, b, c_row);
  }

  // What tanh is taken of: the cell, normalized where there is a norm.
  Vec<S> readout(int64_t i, int64_t j, int64_t n) const {
    const auto v = load(cell + i * H + j, n);
    return normed ? (v - Vec<S>(c.mean[i])) * Vec<S>(c.rstd[i]) : v;
  }

  Vec<S> affine_readout(Vec<S> xhat, int64_t j, int64_t n) const {
    return c.gamma ? xhat * load(c.gamma + j, n) + load(c.beta + j, n) : xhat;
  }

  void output_row(int64_t t, int64_t b) const {
    const int64_t i = t * B + b;
    const S* o = gates + i * 4 * H + 3 * H;
    for_vectors<S>(H, [&](int64_t j, int64_t n) {
      store(load(o + j, n) * affine_readout(readout(i, j, n), j, n).tanh(), h + i * H + j, n);
    });
  }
};

// Gradients of gains and shifts, summed over the steps and the cases of one thread. The gates' shifts and their biases
// after the norms are added in one place and share a gradient.
template <typename S>
struct Sums {
  RowSum<S> gamma_ih, gamma_hh, beta, gamma_c, beta_c;
  explicit Sums(int64_t H) : gamma_ih(4 * H), gamma_hh(4 * H), beta(4 * H), gamma_c(H), beta_c(H) {}
};

// The backward pass, from the last step to the first.
template <typename S>
struct LayerGradient {
  const Layer<S>& layer;
  NormGradient<S> ih, hh, c;
  const S* dh_out;  // (T, B, H) or null: gradient of h at every step
  const S* dc_out;  // (T, B, H) or null: the same of c
  S* dh;            // (B, H): what flows back through the state; then g of the cell's norm
  S* dc;            // (B, H): what flows back through the carry
  S* da_ih;         // (T, B, 4H): gradient of the preactivations from the input (unused without a norm)
  S* da_hh;         // (T, B, 4H): of those from the state

  void pointwise(int64_t t, int64_t from, int64_t to, Sums<S>& sums) const {
    for (int64_t b = from; b < to; ++b) output_row(t, b, sums);
    if (layer.normed) c.collect(c.norm.M + t, from, to);
    for (int64_t b = from; b < to; ++b) gate_row(t, b);
    if (!layer.normed) return;
    for (int64_t b = from; b < to; ++b) norm_sums_row(t, b, sums);
    ih.collect(ih.norm.M + t, from, to);
    hh.collect(hh.norm.M + t, from, to);
    for (int64_t b = from; b < to; ++b) preactivation_row(t, b);
  }

  // dh -> gradient of the output gate (kept in da_hh) and of the normalized cell (kept in dh).
  void output_row(int64_t t, int64_t b, Sums<S>& sums) const {
    const int64_t H = layer.H, i = t * layer.B + b;
    const S* o = layer.gates + i * 4 * H + 3 * H;
    S* out = da_hh + i * 4 * H + 3 * H;
    Vec<S> sum_g(S(0)), sum_gx(S(0));
    for_vectors<S>(H, [&](int64_t j, int64_t n) {
      auto d = load(dh + b * H + j, n);
      if (dh_out) d = d + load(dh_out + i * H + j, n);
      const auto xhat = layer.readout(i, j, n), th = layer.affine_readout(xhat, j, n).tanh(), og = load(o + j, n);
      store(d * th * og * (Vec<S>(S(1)) - og), out + j, n);
      auto g = d * og * (Vec<S>(S(1)) - th * th);
      if (layer.c.gamma) {
        sums.gamma_c.add(j, g * xhat, n);
        sums.beta_c.add(j, g, n);
        g = g * load(layer.c.gamma + j, n);
      }
      g = masked(g, n);
      sum_g = sum_g + g;
      sum_gx = at::vec::fmadd(g, masked(xhat, n), sum_gx);
      store(g, dh + b * H + j, n);
    });
    sums.gamma_c.row_done(), sums.beta_c.row_done();
    if (layer.normed) c.statistics(t, b, sum(sum_g), sum(sum_gx));
  }

  // Gradient of the cell -> of the four gates before their sigmoid or tanh (in da_hh).
  void gate_row(int64_t t, int64_t b) const {
    const int64_t H = layer.H, G = 4 * H, i = t * layer.B + b;
    const S* gates = layer.gates + i * G;
    const S* c_prev = layer.previous_c(t) + b * H;
    S* d = da_hh + i * G;
    S level = 0, slope = 0, r = 1;
    if (layer.normed) c.coefficients(t, b, &level, &slope), r = layer.c.rstd[i];
    for_vectors<S>(H, [&](int64_t j, int64_t n) {
      const Vec<S> one(S(1));
      auto dcell = load(dc + b * H + j, n) + Vec<S>(r) * load(dh + b * H + j, n);
      if (layer.normed) dcell = dcell + Vec<S>(level) + Vec<S>(slope) * layer.readout(i, j, n);
      if (dc_out) dcell = dcell + load(dc_out + i * H + j, n);
      const auto ig = load(gates + j, n), fg = load(gates + j + H, n), gg = load(gates + j + 2 * H, n);
      store(dcell * gg * ig * (one - ig), d + j, n);
      store(dcell * load(c_prev + j, n) * fg * (one - fg), d + j + H, n);
      store(dcell * ig * (one - gg * gg), d + j + 2 * H, n);
      store(dcell * fg, dc + b * H + j, n);
    });
  }

  // What the backward pass of the two norms needs summed over their row, and the gradients of gains and shift.
  void norm_sums_row(int64_t t, int64_t b, Sums<S>& sums) const {
    const int64_t G = 4 * layer.H, i = t * layer.B + b;
    const S *d = da_hh + i * G, *x = layer.xhat_ih + i * G, *u = layer.recurrent(t) + b * G;
    const bool affine = layer.ih.gamma != nullptr;
    Vec<S> sum_ih(S(0)), sum_hh(S(0)), sum_ih_x(S(0)), sum_hh_x(S(0));
    for_vectors<S>(G, [&](int64_t j, int64_t n) {
      const auto dp = masked(load(d + j, n), n), xi = masked(load(x + j, n), n), xh = masked(load(u + j, n), n);
      auto gi = dp, gh = dp;
      sums.beta.add(j, dp, n);
      if (affine) {
        sums.gamma_ih.add(j, dp * xi, n);
        sums.gamma_hh.add(j, dp * xh, n);
        gi = dp * load(layer.ih.gamma + j, n), gh = dp * load(layer.hh.gamma + j, n);
      }
      sum_ih = sum_ih + gi, sum_hh = sum_hh + gh;
      sum_ih_x = at::vec::fmadd(gi, xi, sum_ih_x), sum_hh_x = at::vec::fmadd(gh, xh, sum_hh_x);
    });
    sums.gamma_ih.row_done(), sums.gamma_hh.row_done(), sums.beta.row_done();
    ih.statistics(t, b, sum(sum_ih), sum(sum_ih_x));
    hh.statistics(t, b, sum(sum_hh), sum(sum_hh_x));
  }

  // Gradient of the normalized preactivations -> of the preactivations themselves.
  void preactivation_row(int64_t t, int64_t b) const {
    const int64_t G = 4 * layer.H, i = t * layer.B + b;
    const S *x = layer.xhat_ih + i * G, *u = layer.recurrent(t) + b * G;
    S *di = da_ih + i * G, *dr = da_hh + i * G;
    S level_ih, slope_ih, level_hh, slope_hh;
    ih.coefficients(t, b, &level_ih, &slope_ih);
    hh.coefficients(t, b, &level_hh, &slope_hh);
    const S r_ih = layer.ih.rstd[i], r_hh = layer.hh.rstd[i];
    for_vectors<S>(G, [&](int64_t j, int64_t n) {
      const auto dp = load(dr + j, n);
      auto gi = dp, gh = dp;
      if (layer.ih.gamma) gi = dp * load(layer.ih.gamma + j, n), gh = dp * load(layer.hh.gamma + j, n);
      store(at::vec::fmadd(Vec<S>(r_ih), gi, at::vec::fmadd(Vec<S>(slope_ih), load(x + j, n), Vec<S>(level_ih))),
            di + j, n);
      store(at::vec::fmadd(Vec<S>(r_hh), gh, at::vec::fmadd(Vec<S>(slope_hh), load(u + j, n), Vec<S>(level_hh))),
            dr + j, n);
    });
  }

  // For some of the cases, the columns of some panels of weight, W_hh.
  void product(const Panels<S>& weight, int64_t t, Range cases, Range panels) const {
    const int64_t H = layer.H;
    weight.times(da_hh + (t * layer.B + cases.from) * 4 * H, dh + cases.from * H, cases.count(), panels);
  }
};

}  // namespace atn
