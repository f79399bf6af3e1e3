// A product with one weight that is used many times: oneDNN lays the weight out once, and reads it faster each time.
//
// torch uses these operators inside its own compiler and does not promise them, so they are looked up by name; where
// they are missing, or the dtype is not theirs, there is no packed weight and BLAS does the product.

#pragma once

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <optional>

namespace atn {

class PackedWeight {
 public:
  // weight (columns, inner); rows: how many rows a product will have.
  PackedWeight(const at::Tensor& weight, int64_t rows) {
    auto& dispatcher = c10::Dispatcher::singleton();
    const auto pack = dispatcher.findSchema({"mkldnn::_reorder_linear_weight", ""});
    product_ = dispatcher.findSchema({"mkldnn::_linear_pointwise", ""});
    if (!pack || !product_ || !at::hasMKLDNN() || !at::globalContext().userEnabledMkldnn() ||
        weight.scalar_type() != at::kFloat)
      return;
    c10::Stack stack{weight.contiguous(), rows};
    pack->callBoxed(stack);
    weight_ = stack[0].toTensor();
  }

  explicit operator bool() const { return weight_.defined(); }

  // x (rows, inner) @ weight^T, into out (rows, columns).
  void operator()(const at::Tensor& x, const at::Tensor& out) const {
    c10::Stack stack{x, weight_, c10::IValue(), "none", c10::List<std::optional<at::Scalar>>(), ""};
    product_->callBoxed(stack);
    out.copy_(stack[0].toTensor());
  }

 private:
  std::optional<c10::OperatorHandle> product_;
  at::Tensor weight_;
};

}  // namespace atn
