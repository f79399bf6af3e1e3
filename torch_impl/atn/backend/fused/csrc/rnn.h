// The simple recurrent network, Eqs. (1) and (3): h = f(a_ih + a_hh), with f = tanh or relu.

#pragma once

#include "hidden.h"

namespace atn {

struct Tanh {
  template <typename S>
  static Vec<S> of(Vec<S> a) {
    return tanh(a);
  }

  // The gradient, from that of the function's value h.
  template <typename S>
  static Vec<S> backward(Vec<S> dh, Vec<S> h) {
    return dh * (Vec<S>(S(1)) - h * h);
  }
};

struct Relu {
  template <typename S>
  static Vec<S> of(Vec<S> a) {
    return at::vec::maximum(a, Vec<S>(S(0)));
  }

  // As torch: 0 at 0, also of an infinite gradient, and what is not a number passes the gradient on.
  template <typename S>
  static Vec<S> backward(Vec<S> dh, Vec<S> h) {
    const Vec<S> zero(S(0));
    return Vec<S>::blendv(dh, zero, h <= zero);
  }
};

template <typename S, typename F>
struct RNN {
  static constexpr int64_t BLOCKS = 1, KEPT = 0;
  static constexpr bool ROWS_DIFFER = false;

  static std::array<Vec<S>, KEPT> kept(const Preactivations<S, BLOCKS>&) { return {}; }

  static Vec<S> state(const Preactivations<S, BLOCKS>& a, const std::array<Vec<S>, KEPT>&, Vec<S>) {
    return F::of(a.ih[0] + a.hh[0]);
  }

  static CellGradients<S, BLOCKS> backward(Vec<S> dh, Vec<S> h, Vec<S>, const std::array<Vec<S>, KEPT>&) {
    const auto d = F::backward(dh, h);
    return {.ih = {d}, .hh = {d}, .h = Vec<S>(S(0))};
  }
};

}  // namespace atn
