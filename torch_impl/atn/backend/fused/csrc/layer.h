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
// Letters: T time, B cases, H hidden, G = 4H gate rows.

#pragma once

#include "norm.h"
#include "panels.h"
#include "threads.h"

namespace atn {

// Sizes and arrays of a layer: what the forward pass reads and writes, and the backward pass reads.
template <typename S>
struct Layer {
  int64_t T, B, H;
  bool normed;
  const S* bias_hh;  // (4H,), inside the norm, or null
  const S* bias;     // (4H,), all that is added to the gates after the norms, or null
  const S* h_0;      // (B, H); not read by the backward pass
  const S* c_0;      // (B, H)
  Norm<S> ih, hh, c;  // without a norm only gains and shift of c are read
  S* xhat_ih;         // (T, B, 4H): preactivations from the input, normalized in place
  S* xhat_hh;         // (T, B, 4H): the same from the state; (1, B, 4H), scratch, without a norm
  S* gates;           // (T, B, 4H): after their sigmoid or tanh
  S* cell;            // (T, B, H)
  S* h;               // (T, B, H)

  const S* previous_h(int64_t t) const { return t == 0 ? h_0 : h + (t - 1) * B * H; }
  const S* previous_c(int64_t t) const { return t == 0 ? c_0 : cell + (t - 1) * B * H; }
  S* recurrent(int64_t t) const { return xhat_hh + (normed ? t * B * 4 * H : 0); }

  // The cell of row i = t * B + b, normalized where there is a norm.
  Vec<S> xhat_c(int64_t i, int64_t j, int64_t n) const {
    const auto v = load(cell + i * H + j, n);
    return normed ? (v - Vec<S>(c.mean[i])) * Vec<S>(c.rstd[i]) : v;
  }

  // What tanh is taken of.
  Vec<S> z(Vec<S> xhat, int64_t j, int64_t n) const {
    if (c.gamma) xhat = xhat * load(c.gamma + j, n);
    return c.beta ? xhat + load(c.beta + j, n) : xhat;
  }
};

}  // namespace atn
