// The backward pass of a layer, from the last step to the first: the gradient of the equations in layer.h.

#pragma once

#include "layer.h"
#include "sums.h"

namespace atn {

// Gradients of gains and shifts, summed over the steps and the cases of one part. The shifts of the two norms of the
// gates and the biases after them are added in one place and share a gradient.
template <typename S>
struct Sums {
  RowSum<S> gamma_ih, gamma_hh, bias, gamma_c, beta_c;
  explicit Sums(int64_t H) : gamma_ih(4 * H), gamma_hh(4 * H), bias(4 * H), gamma_c(H), beta_c(H) {}
};

template <typename S>
class LayerBackward {
 public:
  struct Buffers {
    const S* dh_out;  // (T, B, H) or null: gradient of h at every step
    const S* dc_out;  // (T, B, H) or null: the same of c
    S* dh;            // (B, H): what flows back through the state; then g of the cell's norm
    S* dc;            // (B, H): what flows back through the carry
    StepRows<S> da_ih;  // rows of 4H: gradient of the preactivations from the input; without a norm it is da_hh
    StepRows<S> da_hh;  // rows of 4H: of those from the state; before it, of the gates before their sigmoid or tanh; and
                        // with a norm, before that, the gates themselves, which are not kept
    typename NormBackward<S>::Buffers ih, hh, c;
  };

  LayerBackward(const Layer<S>& layer, const Buffers& buffers)
      : layer_(layer),
        buffers_(buffers),
        ih_(layer.ih, buffers.ih),
        hh_(layer.hh, buffers.hh),
        c_(layer.c, buffers.c) {}

  // Where the preactivations from the input are not kept: computes them again, for some of the cases of step t, the
  // columns of some panels. They lie where their gradient will.
  void input_product(const InputProduct<S>& input, int64_t t, Range cases, Range panels) const {
    input.times(t, cases, layer_.rows_ih.at(t, cases.from), panels);
  }

  // The rest of it, for cases [from, to), once all panels are there.
  void center_input(int64_t t, int64_t from, int64_t to) const {
    for (int64_t b = from; b < to; ++b) {
      const int64_t i = t * layer_.B + b;
      add_row(layer_.bias_ih, layer_.rows_ih.at(t, b), 4 * layer_.H);
      center_row(layer_.rows_ih.at(t, b), 4 * layer_.H, layer_.ih.center(i));
    }
  }

  // All in front of the product with W_hh, for cases [from, to) of step t.
  [[gnu::flatten]] void pointwise(int64_t t, int64_t from, int64_t to, Sums<S>& sums) {
    if (layer_.normed)
      for (int64_t b = from; b < to; ++b) gates_row(t, b);
    for (int64_t b = from; b < to; ++b) output_row(t, b, sums);
    if (layer_.normed) c_.collect(t, from, to);
    for (int64_t b = from; b < to; ++b) gate_row(t, b);
    if (!layer_.normed) return;
    for (int64_t b = from; b < to; ++b) norm_sums_row(t, b, sums);
    ih_.collect(t, from, to);
    hh_.collect(t, from, to);
    for (int64_t b = from; b < to; ++b) preactivation_row(t, b);
  }

  // For some of the cases, the columns of some panels of weight, W_hh.
  void product(const Panels<S>& weight, int64_t t, Range cases, Range panels) const {
    weight.times(buffers_.da_hh.at(t, cases.from), buffers_.dh + cases.from * layer_.H, cases.count(), panels);
  }

  // Gradients of the windows' memory, for cases [from, to). After all steps.
  void finish(int64_t from, int64_t to) {
    ih_.finish(from, to), hh_.finish(from, to), c_.finish(from, to);
  }

 private:
  // The gates again: a few operations on numbers in cache cost less than to write and read them.
  void gates_row(int64_t t, int64_t b) const {
    const int64_t H = layer_.H, i = t * layer_.B + b;
    const auto from_input = xhat_of(layer_.ih, i, layer_.rows_ih.at(t, b));
    const auto from_state = xhat_of(layer_.hh, i, layer_.rows_hh.at(t, b));
    S* out = layer_.gates.at(t, b);
    for_vectors<S>(H, [&](int64_t j, int64_t n) {
      const auto gates = layer_.gates_of(from_input, from_state, j, n);
      store(gates.i, out + j, n), store(gates.f, out + j + H, n);
      store(gates.g, out + j + 2 * H, n), store(gates.o, out + j + 3 * H, n);
    });
  }

  // dh -> gradient of the output gate (kept in da_hh) and of the normalized cell (kept in dh).
  void output_row(int64_t t, int64_t b, Sums<S>& sums) const {
    const int64_t H = layer_.H, i = t * layer_.B + b;
    const Norm<S>& c = layer_.c;
    const S* dh_out = buffers_.dh_out;
    const S* o = layer_.gates.at(t, b) + 3 * H;
    S* dh = buffers_.dh + b * H;
    S* out = buffers_.da_hh.at(t, b) + 3 * H;
    Vec<S> sum_g(S(0)), sum_gx(S(0));
    for_vectors<S>(H, [&](int64_t j, int64_t n) {
      auto d = load(dh + j, n);
      if (dh_out) d = d + load(dh_out + i * H + j, n);
      const auto xhat = layer_.xhat_c(t, b, j, n), th = tanh(layer_.z(xhat, j, n)), og = load(o + j, n);
      store(d * th * og * (Vec<S>(S(1)) - og), out + j, n);
      auto g = d * og * (Vec<S>(S(1)) - th * th);
      if (c.beta) sums.beta_c.add(j, g, n);
      if (c.gamma) {
        sums.gamma_c.add(j, g * xhat, n);
        g = g * load(c.gamma + j, n);
      }
      g = masked(g, n);
      sum_g = sum_g + g;
      sum_gx = at::vec::fmadd(g, masked(xhat, n), sum_gx);
      store(g, dh + j, n);
    });
    sums.gamma_c.row_done(), sums.beta_c.row_done();
    if (layer_.normed) c_.statistics(t, b, sum(sum_g), sum(sum_gx));
  }

  // Gradient of the cell -> of the four gates before their sigmoid or tanh (in da_hh).
  void gate_row(int64_t t, int64_t b) const {
    const int64_t H = layer_.H, i = t * layer_.B + b;
    const S* gate = layer_.gates.at(t, b);
    const S* c_prev = layer_.previous_c(t, b);
    const S *dh = buffers_.dh + b * H, *dc_out = buffers_.dc_out;
    S *d = buffers_.da_hh.at(t, b), *dc = buffers_.dc + b * H;
    const S* c_row = layer_.cell.at(t, b);
    S level = 0, slope = 0, r = 1;
    if (layer_.normed) c_.coefficients(t, b, &level, &slope), r = layer_.c.rstd[i];
    const Vec<S> center(layer_.normed ? layer_.c.center(i) : S(0));
    for_vectors<S>(H, [&](int64_t j, int64_t n) {
      const Vec<S> one(S(1));
      auto dcell = load(dc + j, n) + Vec<S>(r) * load(dh + j, n);
      if (layer_.normed) dcell = dcell + Vec<S>(level) + Vec<S>(slope) * (load(c_row + j, n) - center);
      if (dc_out) dcell = dcell + load(dc_out + i * H + j, n);
      const auto ig = load(gate + j, n), fg = load(gate + j + H, n), gg = load(gate + j + 2 * H, n);
      store(dcell * gg * ig * (one - ig), d + j, n);
      store(dcell * load(c_prev + j, n) * fg * (one - fg), d + j + H, n);
      store(dcell * ig * (one - gg * gg), d + j + 2 * H, n);
      store(dcell * fg, dc + j, n);
    });
  }

  // What the backward pass of the two norms needs summed over their row, and the gradients of gains and shift.
  void norm_sums_row(int64_t t, int64_t b, Sums<S>& sums) const {
    const int64_t G = 4 * layer_.H, i = t * layer_.B + b;
    const S* d = buffers_.da_hh.at(t, b);
    const auto xhat_ih = xhat_of(layer_.ih, i, layer_.rows_ih.at(t, b));
    const auto xhat_hh = xhat_of(layer_.hh, i, layer_.rows_hh.at(t, b));
    const S *gamma_ih = layer_.ih.gamma, *gamma_hh = layer_.hh.gamma;
    Vec<S> sum_ih(S(0)), sum_hh(S(0)), sum_ih_x(S(0)), sum_hh_x(S(0));
    for_vectors<S>(G, [&](int64_t j, int64_t n) {
      const auto dp = masked(load(d + j, n), n), xi = masked(xhat_ih(j, n), n), xh = masked(xhat_hh(j, n), n);
      auto gi = dp, gh = dp;
      sums.bias.add(j, dp, n);
      if (gamma_ih) sums.gamma_ih.add(j, dp * xi, n), gi = dp * load(gamma_ih + j, n);
      if (gamma_hh) sums.gamma_hh.add(j, dp * xh, n), gh = dp * load(gamma_hh + j, n);
      sum_ih = sum_ih + gi, sum_hh = sum_hh + gh;
      sum_ih_x = at::vec::fmadd(gi, xi, sum_ih_x), sum_hh_x = at::vec::fmadd(gh, xh, sum_hh_x);
    });
    sums.gamma_ih.row_done(), sums.gamma_hh.row_done(), sums.bias.row_done();
    ih_.statistics(t, b, sum(sum_ih), sum(sum_ih_x));
    hh_.statistics(t, b, sum(sum_hh), sum(sum_hh_x));
  }

  // Gradient of the normalized preactivations -> of the preactivations themselves.
  void preactivation_row(int64_t t, int64_t b) const {
    const int64_t G = 4 * layer_.H, i = t * layer_.B + b;
    const S *x = layer_.rows_ih.at(t, b), *u = layer_.rows_hh.at(t, b);
    const S *gamma_ih = layer_.ih.gamma, *gamma_hh = layer_.hh.gamma;
    S *di = buffers_.da_ih.at(t, b), *dr = buffers_.da_hh.at(t, b);
    S level_ih, slope_ih, level_hh, slope_hh;
    ih_.coefficients(t, b, &level_ih, &slope_ih);
    hh_.coefficients(t, b, &level_hh, &slope_hh);
    const S r_ih = layer_.ih.rstd[i], r_hh = layer_.hh.rstd[i];
    for_vectors<S>(G, [&](int64_t j, int64_t n) {
      const auto dp = load(dr + j, n);
      auto gi = dp, gh = dp;
      if (gamma_ih) gi = dp * load(gamma_ih + j, n);
      if (gamma_hh) gh = dp * load(gamma_hh + j, n);
      store(at::vec::fmadd(Vec<S>(r_ih), gi, at::vec::fmadd(Vec<S>(slope_ih), load(x + j, n), Vec<S>(level_ih))),
            di + j, n);
      store(at::vec::fmadd(Vec<S>(r_hh), gh, at::vec::fmadd(Vec<S>(slope_hh), load(u + j, n), Vec<S>(level_hh))),
            dr + j, n);
    });
  }

  Layer<S> layer_;
  Buffers buffers_;
  NormBackward<S> ih_, hh_, c_;
};

}  // namespace atn
