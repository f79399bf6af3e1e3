// The GRU of torch.nn, rows r, z, n:
//
//     r, z = sigmoid(a_ih + a_hh)
//     n    = tanh(a_ih + r * a_hh)
//     h    = (1 - z) * n + z * h

#pragma once

#include "hidden.h"

namespace atn {

template <typename S>
struct GRU {
  static constexpr int64_t BLOCKS = 3, KEPT = 4;
  static constexpr bool ROWS_DIFFER = true;  // in n, whose recurrent row the reset gate multiplies

  // r, z, n, and the recurrent row of n.
  static std::array<Vec<S>, KEPT> kept(const Preactivations<S, BLOCKS>& a) {
    const auto r = sigmoid(a.ih[0] + a.hh[0]), z = sigmoid(a.ih[1] + a.hh[1]);
    return {r, z, tanh(a.ih[2] + r * a.hh[2]), a.hh[2]};
  }

  static Vec<S> state(const Preactivations<S, BLOCKS>&, const std::array<Vec<S>, KEPT>& kept, Vec<S> h_prev) {
    const auto &[r, z, n, n_hh] = kept;
    return n + z * (h_prev - n);
  }

  static CellGradients<S, BLOCKS> backward(Vec<S> dh, Vec<S>, Vec<S> h_prev, const std::array<Vec<S>, KEPT>& kept) {
    const auto &[r, z, n, n_hh] = kept;
    const Vec<S> one(S(1));
    const auto dn = dh * (one - z) * (one - n * n);
    const auto dr = dn * n_hh * r * (one - r), dz = dh * (h_prev - n) * z * (one - z);
    return {.ih = {dr, dz, dn}, .hh = {dr, dz, dn * r}, .h = dh * z};
  }
};

}  // namespace atn
