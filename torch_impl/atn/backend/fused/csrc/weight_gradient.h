// The gradients of the products of a layer, taken while those of the preactivations are in cache. To write the rows of
// all steps, and to read them again for products over the whole sequence, would cost as much as half of these products.
//
// Letters: T time, B cases, G gate rows, N inputs of a product.

#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "blocks.h"
#include "sums.h"
#include "threads.h"

namespace atn {

// Rows of G of the gradient of a product, and as many inputs of N, of some cases of one step.
template <typename S>
struct ProductRows {
  const S* rows;
  const S* inputs;
};

// The gradient of a weight (G, N): the sum over steps and cases of a row times its input. As in a panel's product, blocks
// of the sum stay in registers.
template <typename S>
class WeightGradient {
 public:
  // How many cases, of one or more steps, are added up in registers: their inputs stay in the first cache.
  static constexpr int64_t DEPTH = 128;

  WeightGradient(int64_t G, int64_t N) : G_(G), N_(N), sum_(G * N) {}

  // Adds `cases` cases of each step.
  void add(const std::vector<ProductRows<S>>& steps, int64_t cases) {
    for (int64_t from = 0; from < cases; from += DEPTH)
      add_cases(steps, {from, std::min(from + DEPTH, cases)});
  }

  void add_to(S* out) const {
    for (size_t i = 0; i < sum_.size(); ++i) out[i] += sum_[i];
  }

 private:
  static constexpr int64_t WIDTH = Blocks<S>::WIDTH;

  void add_cases(const std::vector<ProductRows<S>>& steps, Range cases) {
    panel_.resize(steps.size() * cases.count() * WIDTH);
    for (int64_t column = 0; column < N_; column += WIDTH) {
      const int64_t columns = std::min(WIDTH, N_ - column);
      lay_out(steps, cases, column, columns);
      Blocks<S>::for_blocks(G_, columns, [&]<int R, int V>(int64_t row) {
        typename Blocks<S>::template Block<R, V> sums = {};
        const S* panel = panel_.data();
        for (const auto& step : steps) {
          Blocks<S>::add_terms(sums, step.rows + cases.from * G_ + row, 1, G_, panel, cases.count());
          panel += cases.count() * WIDTH;
        }
        Blocks<S>::finish(sums, /*add=*/true, sum_.data() + row * N_ + column, N_, columns);
      });
    }
  }

  // The inputs' columns of a panel, one case behind the other.
  void lay_out(const std::vector<ProductRows<S>>& steps, Range cases, int64_t column, int64_t columns) {
    S* panel = panel_.data();
    for (const auto& step : steps)
      for (int64_t b = cases.from; b < cases.to; ++b, panel += WIDTH) {
        std::memcpy(panel, step.inputs + b * N_ + column, sizeof(S) * columns);
        std::fill(panel + columns, panel + WIDTH, S(0));
      }
  }

  int64_t G_, N_;
  std::vector<S> sum_;    // (G, N)
  std::vector<S> panel_;  // (cases of all steps, WIDTH)
};

// The number of steps, a power of two, that are added up together: small batches make a block of several steps.
template <typename S>
int64_t steps_at_once(int64_t cases, int64_t T) {
  int64_t steps = 1;
  while (2 * steps * cases <= WeightGradient<S>::DEPTH && steps < T) steps *= 2;
  return steps;
}

// The gradients of the two products of a layer, those of the cases of one part summed as its steps are done.
template <typename S>
class ProductGradients {
 public:
  // Which gradients are wanted.
  struct Wanted {
    bool weights, bias_ih, bias_hh;
  };

  ProductGradients(int64_t G, int64_t I, int64_t H, Wanted wanted)
      : G_(G),
        wanted_(wanted),
        bias_ih_(G),
        bias_hh_(G),
        weight_ih_(G, wanted.weights ? I : 0),
        weight_hh_(G, wanted.weights ? H : 0) {}

  // Takes in `cases` cases of a step, the gradients of the products with the input and with the state. The memory is read
  // until `flush`.
  void add(const ProductRows<S>& of_input, const ProductRows<S>& of_state, int64_t cases) {
    if (wanted_.bias_ih) add_rows(of_input.rows, cases, bias_ih_);
    if (wanted_.bias_hh) add_rows(of_state.rows, cases, bias_hh_);
    if (wanted_.weights) inputs_.push_back(of_input), states_.push_back(of_state);
  }

  // Adds up what has been taken in since the last time.
  void flush(int64_t cases) {
    weight_ih_.add(inputs_, cases), weight_hh_.add(states_, cases);
    inputs_.clear(), states_.clear();
  }

  // Adds them to arrays of which only those that are wanted have any elements.
  void add_to(S* weight_ih, S* weight_hh, S* bias_ih, S* bias_hh) {
    if (wanted_.weights) weight_ih_.add_to(weight_ih), weight_hh_.add_to(weight_hh);
    if (wanted_.bias_ih) bias_ih_.add_to(bias_ih);
    if (wanted_.bias_hh) bias_hh_.add_to(bias_hh);
  }

 private:
  void add_rows(const S* rows, int64_t cases, RowSum<S>& sum) const {
    for (int64_t b = 0; b < cases; ++b, sum.row_done())
      for_vectors<S>(G_, [&](int64_t j, int64_t n) { sum.add(j, load(rows + b * G_ + j, n), n); });
  }

  int64_t G_;
  Wanted wanted_;
  RowSum<S> bias_ih_, bias_hh_;
  WeightGradient<S> weight_ih_, weight_hh_;
  std::vector<ProductRows<S>> inputs_, states_;
};

}  // namespace atn
