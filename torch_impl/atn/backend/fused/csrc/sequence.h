// What the layers of every cell share: rows by step, the products of a step, and the order of the time loops.
//
// Letters: T time, B cases, I inputs, G gate rows.

#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "panels.h"
#include "threads.h"

namespace atn {

// From this many recurrent weights on, all cases take a step together: its product has work for every core, and reading
// the weights once for all cases is worth more than never waiting. Below, a thread takes its cases through all steps.
constexpr int64_t WEIGHTS_OF_A_JOINT_STEP = 1 << 18;

// Up to this many features of the input the backward pass computes the preactivations from the input again, which costs
// less than to write and read G numbers; with more of them they are kept.
constexpr int64_t MOST_INPUTS_COMPUTED_AGAIN = 64;

inline bool steps_are_joint(const at::Tensor& weight_hh) { return weight_hh.numel() >= WEIGHTS_OF_A_JOINT_STEP; }

// An array with rows of every step, or with those of one step, which the next step overwrites.
template <typename S>
struct StepRows {
  S* data;
  int64_t step;  // elements from one step to the next, 0 where a step overwrites the last
  int64_t row;   // elements of a row, of which a step has one for each case
  int64_t mask = -1;  // of a ring of steps, a power of two: their number less one

  S* at(int64_t t, int64_t b) const { return data + (t & mask) * step + b * row; }
};

template <typename S>
StepRows<S> rows_of(const at::Tensor& rows) {
  const int64_t B = rows.size(1), N = rows.size(2);
  return {.data = rows.data_ptr<S>(), .step = rows.size(0) > 1 ? B * N : 0, .row = N};
}

// A ring of a power of two steps.
template <typename S>
StepRows<S> ring_of(const at::Tensor& rows) {
  const int64_t B = rows.size(1), N = rows.size(2);
  return {.data = rows.data_ptr<S>(), .step = B * N, .row = N, .mask = rows.size(0) - 1};
}

// Room for the statistics of a layer's norms, with those of the memory (norms, 2, M, B) in front. k = 0 is no norm.
struct Statistics {
  at::Tensor steps, windows;  // (norms, 2, M + T, B) and (norms, 2, T, B)

  Statistics(const at::Tensor& memory, int64_t T, int64_t k) {
    const int64_t norms = memory.size(0), M = memory.size(2), B = memory.size(3);
    const bool normed = k > 0;
    steps = at::empty({norms, 2, normed ? M + T : 0, B}, memory.options());
    windows = at::empty({norms, 2, normed ? T : 0, B}, memory.options());
    if (normed) steps.narrow(2, 0, M).copy_(memory);
  }

  // The statistics of the last min(M + T, k - 1) steps: the memory of the next chunk.
  at::Tensor carried(int64_t k) const {
    const int64_t seen = steps.size(2), count = k > 0 ? std::min(seen, k - 1) : 0;
    const auto memory = steps.narrow(2, seen - count, count);
    return count < seen ? memory.clone() : memory;
  }
};

// A weight (G, N) laid out for the products x W^T of `products` steps.
template <typename S>
Panels<S> panels_of_rows(const at::Tensor& weight, int64_t products) {
  return Panels<S>({.data = weight.const_data_ptr<S>(),
                    .inner = weight.size(1),
                    .columns = weight.size(0),
                    .inner_stride = 1,
                    .column_stride = weight.size(1),
                    .products = products});
}

// The same for the products x W.
template <typename S>
Panels<S> panels_of_columns(const at::Tensor& weight, int64_t products) {
  return Panels<S>({.data = weight.const_data_ptr<S>(),
                    .inner = weight.size(0),
                    .columns = weight.size(1),
                    .inner_stride = weight.size(1),
                    .column_stride = 1,
                    .products = products});
}

// The product of the input with W_ih^T, of some cases of a step. Its weight lies in panels too, so that a case is the
// same bit for bit in any batch and in any chunk of a stream, and in training and inference.
template <typename S>
struct InputProduct {
  const S* x;  // (T, B, I)
  int64_t B, I;
  Panels<S> weight;

  void times(int64_t t, Range cases, S* out, Range panels) const {
    weight.times(x + (t * B + cases.from) * I, out, cases.count(), panels);
  }
};

// The product with the input, for `products` steps.
template <typename S>
InputProduct<S> input_product_of(const at::Tensor& x, const at::Tensor& weight_ih, int64_t products) {
  return {.x = x.const_data_ptr<S>(),
          .B = x.size(1),
          .I = x.size(2),
          .weight = panels_of_rows<S>(weight_ih, products)};
}

// The forward pass of a cell, from the first step to the last. A step of some cases is `products`, for the columns of
// all panels of W_ih and W_hh, which have equally many, and then `pointwise`; before the first step there is `start`.
template <typename S, typename Forward>
void forward_in_time(Forward& forward, const InputProduct<S>& input, const Panels<S>& weight_hh, int64_t T,
                     bool joint) {
  const int64_t B = input.B;
  if (joint) {
    const int64_t panels = weight_hh.all().to;
    forward.start(0, B);
    for (int64_t t = 0; t < T; ++t) {
      in_parts(panels, parts_of(panels), [&](int64_t, Range some) {
        forward.products(input, weight_hh, t, {0, B}, some);
      });
      in_parts(B, parts_of(B), [&](int64_t, Range cases) { forward.pointwise(t, cases.from, cases.to); });
    }
  } else {
    in_parts(B, parts_of(B), [&](int64_t, Range cases) {
      forward.start(cases.from, cases.to);
      for (int64_t t = 0; t < T; ++t) {
        forward.products(input, weight_hh, t, cases, weight_hh.all());
        forward.pointwise(t, cases.from, cases.to);
      }
    });
  }
}

// The backward pass of a cell, from the last step to the first. A step of some cases is `pointwise`, which adds to the
// sums of its part, and then `product` for the columns of all panels of W_hh. Where there is an `input`, its product is
// computed again in front of that: `input_product` for all panels and `center_input`. After all steps: `finish`. Unless
// steps are joint, step_done(part, t, cases) follows each step of a part.
template <typename S, typename Backward, typename Sums, typename StepDone>
void backward_in_time(Backward& backward, const std::optional<InputProduct<S>>& input, const Panels<S>& weight_hh,
                      std::vector<Sums>& sums, int64_t T, int64_t B, bool joint, const StepDone& step_done) {
  const int64_t parts = static_cast<int64_t>(sums.size());
  if (joint) {
    const int64_t panels = weight_hh.all().to;
    for (int64_t t = T - 1; t >= 0; --t) {
      if (input) {
        const int64_t columns = input->weight.all().to;
        in_parts(columns, parts_of(columns), [&](int64_t, Range some) {
          backward.input_product(*input, t, {0, B}, some);
        });
      }
      in_parts(B, parts, [&](int64_t part, Range cases) {
        if (input) backward.center_input(t, cases.from, cases.to);
        backward.pointwise(t, cases.from, cases.to, sums[part]);
      });
      in_parts(panels, parts_of(panels), [&](int64_t, Range some) { backward.product(weight_hh, t, {0, B}, some); });
    }
    backward.finish(0, B);
  } else {
    in_parts(B, parts, [&](int64_t part, Range cases) {
      for (int64_t t = T - 1; t >= 0; --t) {
        if (input) {
          backward.input_product(*input, t, cases, input->weight.all());
          backward.center_input(t, cases.from, cases.to);
        }
        backward.pointwise(t, cases.from, cases.to, sums[part]);
        backward.product(weight_hh, t, cases, weight_hh.all());
        step_done(part, t, cases);
      }
      backward.finish(cases.from, cases.to);
    });
  }
}

}  // namespace atn
