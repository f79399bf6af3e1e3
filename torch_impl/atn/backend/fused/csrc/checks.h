// Checks of the operators' arguments: every one is made before any memory is touched, and every error names the
// argument, what it was and what it must be.

#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <limits>
#include <optional>

namespace atn {

using at::Tensor;
using OptionalTensor = std::optional<Tensor>;

// Holds tensors to the dtype of the first one.
class Check {
 public:
  // `tensor`, the first argument, is float32 or float64 and has this number of axes, which `letters` names.
  Check(const Tensor& tensor, const char* name, int64_t axes, const char* letters) : name_(name) {
    TORCH_CHECK_TYPE(tensor.defined(), name, " must be a tensor, got none");
    dtype_ = tensor.scalar_type();
    TORCH_CHECK_TYPE(dtype_ == at::kFloat || dtype_ == at::kDouble, name, " must be float32 or float64, got ", dtype_);
    rank(tensor, name, axes, letters);
    layout(tensor, name);
  }

  static void rank(const Tensor& tensor, const char* name, int64_t axes, const char* letters) {
    TORCH_CHECK_TYPE(tensor.defined(), name, " must be a tensor, got none");
    TORCH_CHECK_VALUE(tensor.dim() == axes, name, " must have ", axes, " axes ", letters, ", got shape ",
                      tensor.sizes());
  }

  void shape(const Tensor& tensor, const char* name, at::IntArrayRef sizes, const char* letters) const {
    TORCH_CHECK_TYPE(tensor.defined(), name, " must be a tensor, got none");
    TORCH_CHECK_TYPE(tensor.scalar_type() == dtype_, name, " must have ", name_, "'s dtype ", dtype_, ", got ",
                     tensor.scalar_type());
    TORCH_CHECK_VALUE(tensor.sizes() == sizes, name, " must have shape ", letters, " = ", sizes, ", got ",
                      tensor.sizes());
    layout(tensor, name);
  }

  void shape(const OptionalTensor& tensor, const char* name, at::IntArrayRef sizes, const char* letters) const {
    if (tensor) shape(*tensor, name, sizes, letters);
  }

  static void at_least_one(int64_t size, const char* name, const char* letter) {
    TORCH_CHECK_VALUE(size >= 1, name, " must have ", letter, " >= 1, got ", size);
  }

  static void absent(const OptionalTensor& tensor, const char* name) {
    TORCH_CHECK_VALUE(!tensor, name, " must be None for k = 0, which is no norm, got a tensor of shape ",
                      tensor->sizes());
  }

  static void window(int64_t k, int64_t least) {
    TORCH_CHECK_VALUE(k >= least, "k must be at least ", least, ", got ", k);
  }

  // Neither it nor 1 / eps may overflow.
  void epsilon(double eps) const {
    TORCH_CHECK_VALUE(std::isfinite(eps) && eps >= 0, "eps must be a finite number of at least 0, got ", eps);
    using Limits = std::numeric_limits<float>;
    TORCH_CHECK_VALUE(dtype_ == at::kDouble || eps == 0 || (eps >= Limits::min() && eps <= Limits::max()),
                      "eps must be 0 or from ", Limits::min(), " to ", Limits::max(), " for float32, got ", eps);
  }

 private:
  static void layout(const Tensor& tensor, const char* name) {
    TORCH_CHECK_VALUE(tensor.device().is_cpu(), name, " must be on the CPU, got ", tensor.device());
    TORCH_CHECK_VALUE(tensor.layout() == at::kStrided && tensor.is_contiguous(), name,
                      " must be contiguous, got strides ", tensor.strides());
    TORCH_CHECK_VALUE(!tensor.is_neg() && !tensor._is_zerotensor(), name,
                      " must lie in memory as it is, got one whose sign or zeros are implied");
  }

  const char* name_;
  at::ScalarType dtype_;
};

template <typename S>
const S* data(const OptionalTensor& tensor) {
  return tensor ? tensor->const_data_ptr<S>() : nullptr;
}

}  // namespace atn
