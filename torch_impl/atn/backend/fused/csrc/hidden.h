// One layer, in one direction, of a cell whose only state is h, step by step:
//
//     a_ih = gamma_ih * ATN(W_ih x [+ b_ih]) + beta_ih
//     a_hh = gamma_hh * ATN(W_hh h [+ b_hh]) + beta_hh
//     h    = cell(a_ih, a_hh, h)
//
// where beta is all that is added after the norm. Without a norm a row is its product and its bias.
//
// A cell (rnn.h, gru.h) is its equations on the vectors of a few units: BLOCKS, the number of blocks of H that a row
// has; `kept`, of KEPT vectors, which the backward pass reads beside h; `state`, the next h; `backward`, the gradients;
// and ROWS_DIFFER, whether those of a_ih and a_hh differ.
//
// As in layer.h, a function works on a range of cases, and one forward pass serves training and inference.
//
// Letters: T time, B cases, H hidden, N = BLOCKS * H features of a row.

#pragma once

#include <array>

#include "activations.h"
#include "norm.h"
#include "sequence.h"
#include "sums.h"

namespace atn {

// The rows a_ih and a_hh at a few units, one vector of each block.
template <typename S, int64_t BLOCKS>
struct Preactivations {
  std::array<Vec<S>, BLOCKS> ih, hh;
};

// The gradients of a_ih, of a_hh, and of the state that a step started from, not through a_hh.
template <typename S, int64_t BLOCKS>
struct CellGradients {
  std::array<Vec<S>, BLOCKS> ih, hh;
  Vec<S> h;
};

// Sizes and arrays of a layer: what the forward pass reads and writes, and the backward pass reads.
template <typename S>
struct HiddenLayer {
  int64_t T, B, H;
  bool normed;
  const S* bias_ih;  // (N,), inside the norm, or null
  const S* bias_hh;  // (N,), inside the norm, or null
  const S* h_0;      // (B, H)
  Norm<S> ih, hh;
  StepRows<S> rows_ih;  // rows of N: preactivations from the input; with a norm, as it keeps them
  StepRows<S> rows_hh;  // rows of N: the same from the state
  StepRows<S> kept;     // rows of KEPT * H, without a norm; null where nothing is kept
  S* h;                 // (T, B, H)

  const S* previous_h(int64_t t) const { return t == 0 ? h_0 : h + (t - 1) * B * H; }
};

// A normalized vector of a row with gain and shift.
template <typename S>
inline Vec<S> affine(const Norm<S>& norm, Vec<S> xhat, int64_t at, int64_t n) {
  if (norm.gamma) xhat = xhat * load(norm.gamma + at, n);
  return norm.beta ? xhat + load(norm.beta + at, n) : xhat;
}

template <typename S, typename Cell>
class HiddenForward {
 public:
  explicit HiddenForward(const HiddenLayer<S>& layer) : layer_(layer), ih_(layer.ih), hh_(layer.hh) {}

  // Takes in the windows' memory, for cases [from, to). Before any step.
  void start(int64_t from, int64_t to) { ih_.start(from, to), hh_.start(from, to); }

  // For some of the cases, the columns of some panels of W_ih^T and of W_hh^T, which have equally many.
  void products(const InputProduct<S>& input, const Panels<S>& weight_hh, int64_t t, Range cases, Range panels) const {
    input.times(t, cases, layer_.rows_ih.at(t, cases.from), panels);
    const S* h = layer_.previous_h(t) + cases.from * layer_.H;
    weight_hh.times(h, layer_.rows_hh.at(t, cases.from), cases.count(), panels);
  }

  // All that follows the products, for cases [from, to) of step t.
  [[gnu::flatten]] void pointwise(int64_t t, int64_t from, int64_t to) {
    if (layer_.normed) {
      for (int64_t b = from; b < to; ++b) {
        statistics(ih_, layer_.bias_ih, layer_.rows_ih.at(t, b), t, b);
        statistics(hh_, layer_.bias_hh, layer_.rows_hh.at(t, b), t, b);
      }
      ih_.window(t, from, to);
      hh_.window(t, from, to);
    }
    for (int64_t b = from; b < to; ++b) state_row(t, b);
  }

 private:
  static constexpr int64_t BLOCKS = Cell::BLOCKS;

  void statistics(const NormForward<S>& norm, const S* bias, S* row, int64_t t, int64_t b) const {
    add_row(bias, row, BLOCKS * layer_.H);
    norm.step(t, b, row);
  }

  void state_row(int64_t t, int64_t b) const {
    S *from_input = layer_.rows_ih.at(t, b), *from_state = layer_.rows_hh.at(t, b);
    if (!layer_.normed) {
      units(t, b, plain(layer_.bias_ih, from_input), plain(layer_.bias_hh, from_state));
    } else {
      const int64_t i = t * layer_.B + b;
      units(t, b, normalized(layer_.ih, i, from_input), normalized(layer_.hh, i, from_state));
    }
  }

  // Vectors of a row without a norm.
  static auto plain(const S* bias, const S* row) {
    return [=](int64_t at, int64_t n) { return bias ? load(row + at, n) + load(bias + at, n) : load(row + at, n); };
  }

  // Vectors of row i with a norm, which is centered by the way.
  static auto normalized(const Norm<S>& norm, int64_t i, S* row) {
    return [&norm, xhat = xhat_in_place(norm, i, row)](int64_t at, int64_t n) { return affine(norm, xhat(at, n), at, n); };
  }

  // The units of case b at step t, from vectors a_ih(at, n) and a_hh(at, n).
  template <typename Input, typename State>
  void units(int64_t t, int64_t b, const Input& a_ih, const State& a_hh) const {
    const int64_t H = layer_.H;
    S* kept_row = layer_.kept.data ? layer_.kept.at(t, b) : nullptr;
    const S* h_prev = layer_.previous_h(t) + b * H;
    S* h = layer_.h + (t * layer_.B + b) * H;
    for_vectors<S>(H, [&](int64_t j, int64_t n) {
      Preactivations<S, BLOCKS> a;
      for (int64_t block = 0; block < BLOCKS; ++block) {
        const int64_t at = block * H + j;
        a.ih[block] = a_ih(at, n);
        a.hh[block] = a_hh(at, n);
      }
      const auto kept = Cell::kept(a);
      if (kept_row)
        for (int64_t block = 0; block < Cell::KEPT; ++block) store(kept[block], kept_row + block * H + j, n);
      store(Cell::state(a, kept, load(h_prev + j, n)), h + j, n);
    });
  }

  HiddenLayer<S> layer_;
  NormForward<S> ih_, hh_;
};

// Gradients of gains and shifts, summed over the steps and the cases of one part.
template <typename S>
struct HiddenSums {
  RowSum<S> gamma_ih, beta_ih, gamma_hh, beta_hh;
  explicit HiddenSums(int64_t N) : gamma_ih(N), beta_ih(N), gamma_hh(N), beta_hh(N) {}

  void row_done() { gamma_ih.row_done(), beta_ih.row_done(), gamma_hh.row_done(), beta_hh.row_done(); }
};

// The backward pass, from the last step to the first.
template <typename S, typename Cell>
class HiddenBackward {
 public:
  struct Buffers {
    const S* dh_out;       // (T, B, H) or null: gradient of h at every step
    S* dh;                 // (B, H): what flows back through a_hh
    S* direct;             // (B, H): what flows back beside it; null where ROWS_DIFFER is false
    S* da_ih;              // (T, B, N): gradient of the preactivations from the input; null where it is that of a_hh
    S* da_hh;              // (T, B, N): of those from the state; before it, of a_hh
    StepRows<S> upstream;  // rows of N: gradient of a_ih, where it is not that of a_hh
    typename NormBackward<S>::Buffers ih, hh;
  };

  HiddenBackward(const HiddenLayer<S>& layer, const Buffers& buffers)
      : layer_(layer), buffers_(buffers), ih_(layer.ih, buffers.ih), hh_(layer.hh, buffers.hh) {}

  // Where the preactivations from the input are not kept: computes them again, for some of the cases of step t, the
  // columns of some panels. They lie where their gradient will.
  void input_product(const InputProduct<S>& input, int64_t t, Range cases, Range panels) const {
    input.times(t, cases, layer_.rows_ih.at(t, cases.from), panels);
  }

  // The rest of it, for cases [from, to), once all panels are there.
  void center_input(int64_t t, int64_t from, int64_t to) const {
    const int64_t N = BLOCKS * layer_.H;
    for (int64_t b = from; b < to; ++b) {
      const int64_t i = t * layer_.B + b;
      add_row(layer_.bias_ih, layer_.rows_ih.at(t, b), N);
      center_row(layer_.rows_ih.at(t, b), N, layer_.ih.center(i));
    }
  }

  // All in front of the product with W_hh, for cases [from, to) of step t.
  [[gnu::flatten]] void pointwise(int64_t t, int64_t from, int64_t to, HiddenSums<S>& sums) {
    if (!layer_.normed) {
      for (int64_t b = from; b < to; ++b) plain_row(t, b);
      return;
    }
    for (int64_t b = from; b < to; ++b) normed_row(t, b, sums);
    ih_.collect(t, from, to);
    hh_.collect(t, from, to);
    for (int64_t b = from; b < to; ++b) {
      const int64_t i = (t * layer_.B + b) * BLOCKS * layer_.H;
      const S* of_a_ih = Cell::ROWS_DIFFER ? buffers_.upstream.at(t, b) : buffers_.da_hh + i;
      preactivation_row(ih_, layer_.ih, t, b, of_a_ih, layer_.rows_ih.at(t, b), buffers_.da_ih + i);
      preactivation_row(hh_, layer_.hh, t, b, buffers_.da_hh + i, layer_.rows_hh.at(t, b), buffers_.da_hh + i);
    }
  }

  // For some of the cases, the columns of some panels of weight, W_hh.
  void product(const Panels<S>& weight, int64_t t, Range cases, Range panels) const {
    const S* da_hh = buffers_.da_hh + (t * layer_.B + cases.from) * BLOCKS * layer_.H;
    weight.times(da_hh, buffers_.dh + cases.from * layer_.H, cases.count(), panels);
  }

  // Gradients of the windows' memory and of the first state, for cases [from, to). After all steps.
  void finish(int64_t from, int64_t to) {
    ih_.finish(from, to), hh_.finish(from, to);
    for (int64_t b = from; b < to; ++b)
      if (buffers_.direct) add_row(buffers_.direct + b * layer_.H, buffers_.dh + b * layer_.H, layer_.H);
  }

 private:
  static constexpr int64_t BLOCKS = Cell::BLOCKS;

  // What has come back to h of units j, ...
  Vec<S> upstream_of(int64_t t, int64_t b, int64_t j, int64_t n) const {
    const int64_t H = layer_.H;
    auto d = load(buffers_.dh + b * H + j, n);
    if (buffers_.direct) d = d + load(buffers_.direct + b * H + j, n);
    return buffers_.dh_out ? d + load(buffers_.dh_out + (t * layer_.B + b) * H + j, n) : d;
  }

  CellGradients<S, BLOCKS> gradients(int64_t t, int64_t b, int64_t j, int64_t n,
                                     const std::array<Vec<S>, Cell::KEPT>& kept) const {
    const int64_t H = layer_.H;
    const auto h = load(layer_.h + (t * layer_.B + b) * H + j, n), h_prev = load(layer_.previous_h(t) + b * H + j, n);
    const auto d = Cell::backward(upstream_of(t, b, j, n), h, h_prev, kept);
    if (buffers_.direct) store(d.h, buffers_.direct + b * H + j, n);
    return d;
  }

  // Without a norm: the gradients of a_ih and a_hh are those of the products.
  void plain_row(int64_t t, int64_t b) const {
    const int64_t H = layer_.H, i = (t * layer_.B + b) * BLOCKS * H;
    const S* kept_row = layer_.kept.at(t, b);
    for_vectors<S>(H, [&](int64_t j, int64_t n) {
      std::array<Vec<S>, Cell::KEPT> kept;
      for (int64_t block = 0; block < Cell::KEPT; ++block) kept[block] = load(kept_row + block * H + j, n);
      const auto d = gradients(t, b, j, n, kept);
      for (int64_t block = 0; block < BLOCKS; ++block) {
        const int64_t at = i + block * H + j;
        if constexpr (Cell::ROWS_DIFFER) store(d.ih[block], buffers_.da_ih + at, n);
        store(d.hh[block], buffers_.da_hh + at, n);
      }
    });
  }

  // With norms: the gradients of a_ih and a_hh, and what the norms' backward passes need summed over their rows. What
  // the cell keeps is computed again: a few operations on numbers in cache cost less than to write and read them.
  void normed_row(int64_t t, int64_t b, HiddenSums<S>& sums) const {
    const int64_t H = layer_.H, i = t * layer_.B + b;
    const S *x = layer_.rows_ih.at(t, b), *u = layer_.rows_hh.at(t, b);
    const auto xhat_ih = xhat_of(layer_.ih, i, x), xhat_hh = xhat_of(layer_.hh, i, u);
    S* of_a_ih = Cell::ROWS_DIFFER ? buffers_.upstream.at(t, b) : nullptr;
    S* of_a_hh = buffers_.da_hh + i * BLOCKS * H;
    Vec<S> sum_ih(S(0)), sum_hh(S(0)), sum_ih_x(S(0)), sum_hh_x(S(0));
    for_vectors<S>(H, [&](int64_t j, int64_t n) {
      Preactivations<S, BLOCKS> a;
      for (int64_t block = 0; block < BLOCKS; ++block) {
        const int64_t at = block * H + j;
        a.ih[block] = affine(layer_.ih, xhat_ih(at, n), at, n);
        a.hh[block] = affine(layer_.hh, xhat_hh(at, n), at, n);
      }
      const auto d = gradients(t, b, j, n, Cell::kept(a));
      for (int64_t block = 0; block < BLOCKS; ++block) {
        const int64_t at = block * H + j;
        if constexpr (Cell::ROWS_DIFFER) store(d.ih[block], of_a_ih + at, n);
        store(d.hh[block], of_a_hh + at, n);
        add_to_sums(layer_.ih, d.ih[block], xhat_ih(at, n), at, n, sums.gamma_ih, sums.beta_ih, sum_ih, sum_ih_x);
        add_to_sums(layer_.hh, d.hh[block], xhat_hh(at, n), at, n, sums.gamma_hh, sums.beta_hh, sum_hh, sum_hh_x);
      }
    });
    sums.row_done();
    ih_.statistics(t, b, sum(sum_ih), sum(sum_ih_x));
    hh_.statistics(t, b, sum(sum_hh), sum(sum_hh_x));
  }

  static void add_to_sums(const Norm<S>& norm, Vec<S> d, Vec<S> xhat, int64_t at, int64_t n, RowSum<S>& gamma,
                          RowSum<S>& beta, Vec<S>& sum_g, Vec<S>& sum_gx) {
    auto g = d;
    if (norm.beta) beta.add(at, d, n);
    if (norm.gamma) gamma.add(at, d * xhat, n), g = d * load(norm.gamma + at, n);
    g = masked(g, n);
    sum_g = sum_g + g;
    sum_gx = at::vec::fmadd(g, masked(xhat, n), sum_gx);
  }

  // Gradient of gamma * xhat + beta -> of the preactivations, of which `row` is kept.
  void preactivation_row(const NormBackward<S>& backward, const Norm<S>& norm, int64_t t, int64_t b, const S* d,
                         const S* row, S* out) const {
    S level, slope;
    backward.coefficients(t, b, &level, &slope);
    const Vec<S> r(norm.rstd[t * layer_.B + b]);
    for_vectors<S>(BLOCKS * layer_.H, [&](int64_t j, int64_t n) {
      auto g = load(d + j, n);
      if (norm.gamma) g = g * load(norm.gamma + j, n);
      store(at::vec::fmadd(r, g, at::vec::fmadd(Vec<S>(slope), load(row + j, n), Vec<S>(level))), out + j, n);
    });
  }

  HiddenLayer<S> layer_;
  Buffers buffers_;
  NormBackward<S> ih_, hh_;
};

}  // namespace atn
