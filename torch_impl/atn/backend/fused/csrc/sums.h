// Sums of many rows.

#pragma once

#include <ATen/ATen.h>

#include <type_traits>
#include <vector>

#include "rows.h"

namespace atn {

// A few rows at a time in S, then in a wider type: adding thousands of rows one after the other would cost digits that a
// pairwise sum keeps.
template <typename S>
class RowSum {
 public:
  explicit RowSum(int64_t n) : recent_(n), total_(n) {}

  void add(int64_t j, Vec<S> v, int64_t count) { store(load(recent_.data() + j, count) + v, recent_.data() + j, count); }

  void row_done() {
    if (++rows_ == 32) flush();
  }

  void add_to(S* out) {
    flush();
    for (size_t j = 0; j < total_.size(); ++j) out[j] += static_cast<S>(total_[j]);
  }

 private:
  void flush() {
    for (size_t j = 0; j < total_.size(); ++j) total_[j] += recent_[j], recent_[j] = 0;
    rows_ = 0;
  }

  using Wider = std::conditional_t<std::is_same_v<S, float>, double, long double>;

  std::vector<S> recent_;
  std::vector<Wider> total_;
  int rows_ = 0;
};

// The sum over all parts, each of which has its own `member`.
template <typename S, typename Part>
at::Tensor total(std::vector<Part>& parts, RowSum<S> Part::*member, int64_t n, const at::TensorOptions& options) {
  const auto out = at::zeros({n}, options);
  for (auto& part : parts) (part.*member).add_to(out.template data_ptr<S>());
  return out;
}

}  // namespace atn
