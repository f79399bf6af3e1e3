// One layer of the LSTM in one direction, step by step: Eqs. (14)-(16).
//
//     gates = ATN(W_hh h [+ b_hh]) + ATN(W_ih x [+ b_ih]) [+ b_ih + b_hh]        i, f, g, o
//     c     = sigmoid(f) * c + sigmoid(i) * tanh(g)
//     h     = sigmoid(o) * tanh(z),   z = ATN(c)
//
// Without a norm ATN is the identity, and z = [gamma_c *] c [+ beta_c].
//
// Every function works on a range of cases: cases never meet, neither in the statistics nor in the recurrence.
//
// One forward pass serves training and inference: rows that a backward pass reads are kept for every step, the others
// lie in the same place at every step and stay in cache.
//
// Letters: T time, B cases, H hidden, G = 4H gate rows.

#pragma once

#include "activations.h"
#include "norm.h"
#include "sequence.h"

namespace atn {

// The four gates of a few units.
template <typename S>
struct Gates {
  Vec<S> i, f, g, o;
};

// Sizes and arrays of a layer: what the forward pass reads and writes, and the backward pass reads.
template <typename S>
struct Layer {
  int64_t T, B, H;
  bool normed;
  const S* bias_ih;  // (4H,), inside the norm, or null
  const S* bias_hh;  // (4H,), inside the norm, or null
  const S* bias;     // (4H,), all that is added to the gates after the norms, or null
  const S* h_0;      // (B, H)
  const S* c_0;      // (B, H)
  Norm<S> ih, hh, c;  // without a norm only gains and shift of c are read
  StepRows<S> rows_ih;  // rows of 4H: preactivations from the input; with a norm, as it keeps them
  StepRows<S> rows_hh;  // rows of 4H: the same from the state
  StepRows<S> gates;    // rows of 4H: after their sigmoid or tanh
  StepRows<S> cell;     // rows of H
  S* h;                 // (T, B, H)

  const S* previous_h(int64_t t) const { return t == 0 ? h_0 : h + (t - 1) * B * H; }
  const S* previous_c(int64_t t, int64_t b) const { return t == 0 ? c_0 + b * H : cell.at(t - 1, b); }

  // The gates of units j, ... from xhat_ih(at, n) and xhat_hh(at, n), vectors of the two normalized rows.
  template <typename Input, typename State>
  Gates<S> gates_of(const Input& xhat_ih, const State& xhat_hh, int64_t j, int64_t n) const {
    const auto preactivation = [&](int64_t at) {
      auto from_input = xhat_ih(at, n), from_state = xhat_hh(at, n);
      if (ih.gamma) from_input = from_input * load(ih.gamma + at, n);
      if (hh.gamma) from_state = from_state * load(hh.gamma + at, n);
      const auto sum = from_input + from_state;
      return bias ? sum + load(bias + at, n) : sum;
    };
    return {.i = sigmoid(preactivation(j)),
            .f = sigmoid(preactivation(j + H)),
            .g = tanh(preactivation(j + 2 * H)),
            .o = sigmoid(preactivation(j + 3 * H))};
  }

  // The cell of case b at step t, normalized where there is a norm.
  Vec<S> xhat_c(int64_t t, int64_t b, int64_t j, int64_t n) const {
    const auto row = load(cell.at(t, b) + j, n);
    return normed ? (row - Vec<S>(c.mean[t * B + b])) * Vec<S>(c.rstd[t * B + b]) : row;
  }

  // What tanh is taken of.
  Vec<S> z(Vec<S> xhat, int64_t j, int64_t n) const {
    if (c.gamma) xhat = xhat * load(c.gamma + j, n);
    return c.beta ? xhat + load(c.beta + j, n) : xhat;
  }
};

}  // namespace atn
