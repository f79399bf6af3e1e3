// sigmoid and tanh of a vector. In float64 they are those of SLEEF. In float32, where a layer would spend half of its time
// in SLEEF's, they are made of one exponential that never overflows, of -|x| or -2|x|:
//
//     sigmoid(|x|) = 1 / (1 + e),   sigmoid(-|x|) = e / (1 + e),   tanh|x| = 1 - 2e / (1 + e),
//
// and for small |x|, where the last one cancels, of a polynomial in x^2. The polynomials are those of Moshier's Cephes
// library (expf.c, tanhf.c), whose relative error is below 2e-7, about one and a half units in the last place. Every
// contraction to a fused multiplication is written out: training and inference must round alike.

#pragma once

#include <cstdint>

#include "rows.h"

namespace atn {

template <typename S>
inline Vec<S> sigmoid(Vec<S> x) {
  return Vec<S>(S(1)) / (Vec<S>(S(1)) + x.neg().exp());
}

template <typename S>
inline Vec<S> tanh(Vec<S> x) {
  return x.tanh();
}

// The bits of a vector of floats, and its lanes' signs and comparisons, in the compiler's own vectors.
struct Bits {
  using Float [[gnu::vector_size(sizeof(Vec<float>))]] = float;
  using Int [[gnu::vector_size(sizeof(Vec<float>))]] = int32_t;
  using Unsigned [[gnu::vector_size(sizeof(Vec<float>))]] = uint32_t;
  static constexpr int32_t SIGN = INT32_MIN;

  static Int bits(Vec<float> v) {
    Int bits;
    v.store(&bits);
    return bits;
  }
  static Float floats(Vec<float> v) {
    Float floats;
    v.store(&floats);
    return floats;
  }
  static Vec<float> vector(Int bits) { return Vec<float>::loadu(&bits); }

  // Where `mask` is set, `yes`, elsewhere `no`.
  static Vec<float> select(Int mask, Vec<float> yes, Vec<float> no) {
    return vector((bits(yes) & mask) | (bits(no) & ~mask));
  }
};

// exp(x) for x <= 0; 0 below -87, where the smallest normal number begins. NaN stays NaN.
inline Vec<float> exp_of_negative(Vec<float> x) {
  const auto constant = [](float value) { return Vec<float>(value); };
  using at::vec::fmadd;
  constexpr float ROUND = 12582912.0F;  // 1.5 * 2^23: what is added to it is rounded to an integer in its last bits
  const auto shifted = fmadd(x, constant(1.44269504088896341F), constant(ROUND));
  const auto n = shifted - constant(ROUND);
  auto r = fmadd(n, constant(-0.693359375F), x);  // ln 2 in two parts, of which the first is exact
  r = fmadd(n, constant(2.12194440e-4F), r);
  auto p = fmadd(constant(1.9875691500e-4F), r, constant(1.3981999507e-3F));
  p = fmadd(p, r, constant(8.3334519073e-3F));
  p = fmadd(p, r, constant(4.1665795894e-2F));
  p = fmadd(p, r, constant(1.6666665459e-1F));
  p = fmadd(p, r, constant(5.0000001201e-1F));
  const auto power = fmadd(p, r * r, r) + constant(1.0F);
  // Of integers without a sign, which may overflow: far below -87 the exponent has no place.
  const auto exponent = (Bits::Unsigned(Bits::bits(shifted)) << 23) + (127U << 23);
  const auto scale = Bits::vector(Bits::Int(exponent));
  const Bits::Int vanishes = Bits::floats(x) < -87.0F;
  return Bits::vector(Bits::bits(power * scale) & ~vanishes);
}

inline Vec<float> sigmoid(Vec<float> x) {
  const Vec<float> one(1.0F);
  const auto bits = Bits::bits(x);
  const auto e = exp_of_negative(Bits::vector(bits | Bits::SIGN));
  return Bits::select(bits < 0, e, one) / (one + e);
}

inline Vec<float> tanh(Vec<float> x) {
  const Vec<float> one(1.0F), two(2.0F);
  using at::vec::fmadd;
  const auto bits = Bits::bits(x);
  const auto e = exp_of_negative(Bits::vector(bits | Bits::SIGN) * two);
  const auto large = one - two * e / (one + e);
  const auto z = x * x;
  auto p = fmadd(Vec<float>(-5.70498872745e-3F), z, Vec<float>(2.06390887954e-2F));
  p = fmadd(p, z, Vec<float>(-5.37397155531e-2F));
  p = fmadd(p, z, Vec<float>(1.33314422036e-1F));
  p = fmadd(p, z, Vec<float>(-3.33332819422e-1F));
  const auto small = fmadd(p * z, x, x);
  const auto magnitude = Bits::floats(Bits::vector(bits & ~Bits::SIGN));
  return Bits::select(magnitude < 0.625F, small, Bits::vector(Bits::bits(large) | (bits & Bits::SIGN)));
}

}  // namespace atn
