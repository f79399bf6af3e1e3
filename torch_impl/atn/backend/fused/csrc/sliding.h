// Aggregates over the last k of a growing sequence of steps, merged pairwise.
//
// The aggregate of 2n steps is merged from two of n, that of n + 1 steps from one of n and a single step, in the order
// of the binary digits of k. A step takes about log2(k) to 2 log2(k) merges, and a sum of k terms passes log2(k)
// roundings rather than k of them. The order depends on k alone, never on how many steps there are or on where a chunk
// of a stream begins, so that a stream equals the whole bit for bit. A running sum with one addition and one
// subtraction a step would be cheaper, and would lose digits without bound.
//
// An aggregate is a pair of numbers a case. What they are, and how two of them merge, is the caller's business.

#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace atn {

// Up to this window length the terms are added one by one: fewer operations, and no digits to lose.
constexpr int64_t LONGEST_DIRECT_WINDOW = 64;

// Two numbers for each of B cases.
template <typename S>
struct Pair {
  S* first;
  S* second;
};

// The two parts of a window that ends in step `near_end`, the far one in front of the near one.
template <typename S>
struct Parts {
  Pair<S> near, far;
  int64_t near_end, far_end;
  int64_t near_length, far_length;
};

template <typename S>
class SlidingWindow {
 public:
  // For windows of k steps in a sequence of `steps`, B cases.
  SlidingWindow(int64_t k, int64_t steps, int64_t B) : B_(B) {
    for (int64_t length = 1, bit = highest_bit(k) >> 1; bit > 0 && length < steps; bit >>= 1) {
      add_level(length, /*far_length=*/length);
      length *= 2;
      if ((k & bit) != 0 && length < steps) add_level(1, /*far_length=*/length), length += 1;
    }
    // The ring of a level holds what the next level reads of it.
    for (size_t l = 0; l < levels_.size(); ++l) {
      const int64_t reach = l + 1 < levels_.size() ? levels_[l + 1].near_length : 0;
      levels_[l].mask = power_of_two_above(reach) - 1;
      levels_[l].values.resize(static_cast<size_t>(2 * (levels_[l].mask + 1) * B));
    }
  }

  // The aggregate over the last k steps up to step i, for cases [from, to). Steps come in order, i = 0, 1, ...
  // `step(i)` is the aggregate of step i alone; `merge(parts, out, from, to)` joins two parts into `out`.
  template <typename Step, typename Merge>
  Pair<S> push(int64_t i, int64_t from, int64_t to, const Step& step, const Merge& merge) {
    Pair<S> below = step(i);
    for (size_t l = 0; l < levels_.size(); ++l) {
      Level& level = levels_[l];
      const Pair<S> out = at(level, i);
      if (i < level.far_length) {  // the window below holds every step that there is
        std::copy(below.first + from, below.first + to, out.first + from);
        std::copy(below.second + from, below.second + to, out.second + from);
      } else {
        const int64_t far_end = i - level.near_length;
        const Parts<S> parts{
            .near = level.near_length == 1 ? step(i) : below,
            .far = l == 0 ? step(far_end) : at(levels_[l - 1], far_end),
            .near_end = i,
            .far_end = far_end,
            .near_length = level.near_length,
            .far_length = std::min(level.far_length, far_end + 1),
        };
        merge(parts, out, from, to);
      }
      below = out;
    }
    return below;
  }

 private:
  struct Level {
    int64_t near_length, far_length;
    int64_t mask = 0;  // the ring's size less one; the size is a power of two
    std::vector<S> values;
  };

  void add_level(int64_t near_length, int64_t far_length) { levels_.push_back({near_length, far_length, 0, {}}); }

  Pair<S> at(Level& level, int64_t i) const {
    S* row = level.values.data() + 2 * (i & level.mask) * B_;
    return {row, row + B_};
  }

  static int64_t highest_bit(int64_t k) {
    int64_t bit = 1;
    while (k >> 1 >= bit) bit <<= 1;
    return bit;
  }

  static int64_t power_of_two_above(int64_t n) {
    int64_t power = 1;
    while (power <= n) power <<= 1;
    return power;
  }

  int64_t B_;
  std::vector<Level> levels_;
};

}  // namespace atn
