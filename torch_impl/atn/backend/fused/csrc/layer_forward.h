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

  // For some of the cases, the columns of some panels of W_ih^T and of W_hh^T, which have equally many.
  void products(const InputProduct<S>& input, const Panels<S>& weight_hh, int64_t t, Range cases, Range panels) const {
    input.times(t, cases, layer_.rows_ih.at(t, cases.from), panels);
    const S* h = layer_.previous_h(t) + cases.from * layer_.H;
    weight_hh.times(h, layer_.rows_hh.at(t, cases.from), cases.count(), panels);
  }

  // All that follows the products, for cases [from, to) of step t. Flattened here and in the other passes: GCC leaves
  // functions of vectors out of line, and passes their arguments through memory.
  [[gnu::flatten]] void pointwise(int64_t t, int64_t from, int64_t to) {
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
    S *from_input = layer_.rows_ih.at(t, b), *from_state = layer_.rows_hh.at(t, b);
    add_row(layer_.bias_ih, from_input, G);
    add_row(layer_.bias_hh, from_state, G);
    ih_.step(t, b, from_input);
    hh_.step(t, b, from_state);
  }

  void gate_row(int64_t t, int64_t b) const {
    const int64_t i = t * layer_.B + b;
    S *from_input = layer_.rows_ih.at(t, b), *from_state = layer_.rows_hh.at(t, b);
    if (!layer_.normed) {
      cell_row(t, b, plain(from_input), plain(from_state));
    } else {
      cell_row(t, b, xhat_in_place(layer_.ih, i, from_input), xhat_in_place(layer_.hh, i, from_state));
      c_.step(t, b, layer_.cell.at(t, b));
    }
  }

  // Vectors of a row as it is.
  static auto plain(const S* row) {
    return [row](int64_t at, int64_t n) { return load(row + at, n); };
  }

  template <typename Input, typename State>
  void cell_row(int64_t t, int64_t b, const Input& xhat_ih, const State& xhat_hh) const {
    const int64_t H = layer_.H;
    const S* c_prev = layer_.previous_c(t, b);
    S *out = layer_.gates.at(t, b), *c_row = layer_.cell.at(t, b);
    for_vectors<S>(H, [&](int64_t j, int64_t n) {
      const auto gates = layer_.gates_of(xhat_ih, xhat_hh, j, n);
      store(gates.i, out + j, n), store(gates.f, out + j + H, n);
      store(gates.g, out + j + 2 * H, n), store(gates.o, out + j + 3 * H, n);
      store(gates.f * load(c_prev + j, n) + gates.i * gates.g, c_row + j, n);
    });
  }

  void output_row(int64_t t, int64_t b) const {
    const int64_t H = layer_.H;
    const S* o = layer_.gates.at(t, b) + 3 * H;
    S* h = layer_.h + (t * layer_.B + b) * H;
    for_vectors<S>(H, [&](int64_t j, int64_t n) {
      store(load(o + j, n) * tanh(layer_.z(layer_.xhat_c(t, b, j, n), j, n)), h + j, n);
    });
  }

  Layer<S> layer_;
  NormForward<S> ih_, hh_, c_;
};

}  // namespace atn
