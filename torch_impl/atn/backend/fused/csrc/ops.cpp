// The operators that the fused backend calls, as torch registers them. Python passes every argument by its name.

#include <torch/library.h>

#include "hidden_operators.h"
#include "layer_operators.h"
#include "norm_operators.h"
#include "stack.h"

namespace atn {
namespace {

NormOutput norm_forward(const Tensor& a, const OptionalTensor& gamma, const OptionalTensor& beta, const Tensor& memory,
                        int64_t k, double eps) {
  return run(NormForwardArguments{.a = a, .gamma = gamma, .beta = beta, .memory = memory, .k = k, .eps = eps});
}

NormGradients norm_backward(const Tensor& dy, const OptionalTensor& dsteps, const Tensor& a,
                            const OptionalTensor& gamma, const Tensor& steps, const Tensor& windows, int64_t k,
                            double eps) {
  return run(NormBackwardArguments{
      .dy = dy, .dsteps = dsteps, .a = a, .gamma = gamma, .steps = steps, .windows = windows, .k = k, .eps = eps});
}

LSTMForwardArguments forward_arguments(const Tensor& x, const Tensor& weight_ih, const Tensor& weight_hh,
                         const OptionalTensor& bias_ih, const OptionalTensor& bias_hh, const OptionalTensor& bias,
                         const OptionalTensor& gamma_ih, const OptionalTensor& gamma_hh, const OptionalTensor& gamma_c,
                         const OptionalTensor& beta_c, const Tensor& h_0, const Tensor& c_0, const Tensor& memory,
                         int64_t k, double eps) {
  return {
      .x = x,
      .weight_ih = weight_ih,
      .weight_hh = weight_hh,
      .bias_ih = bias_ih,
      .bias_hh = bias_hh,
      .bias = bias,
      .gamma_ih = gamma_ih,
      .gamma_hh = gamma_hh,
      .gamma_c = gamma_c,
      .beta_c = beta_c,
      .h_0 = h_0,
      .c_0 = c_0,
      .memory = memory,
      .k = k,
      .eps = eps,
  };
}

LayerOutput lstm_forward(const Tensor& x, const Tensor& weight_ih, const Tensor& weight_hh,
                         const OptionalTensor& bias_ih, const OptionalTensor& bias_hh, const OptionalTensor& bias,
                         const OptionalTensor& gamma_ih, const OptionalTensor& gamma_hh, const OptionalTensor& gamma_c,
                         const OptionalTensor& beta_c, const Tensor& h_0, const Tensor& c_0, const Tensor& memory,
                         int64_t k, double eps) {
  return run(forward_arguments(x, weight_ih, weight_hh, bias_ih, bias_hh, bias, gamma_ih, gamma_hh, gamma_c, beta_c, h_0,
                               c_0, memory, k, eps));
}

InferenceOutput lstm_inference(const Tensor& x, const Tensor& weight_ih, const Tensor& weight_hh,
                         const OptionalTensor& bias_ih, const OptionalTensor& bias_hh, const OptionalTensor& bias,
                         const OptionalTensor& gamma_ih, const OptionalTensor& gamma_hh, const OptionalTensor& gamma_c,
                         const OptionalTensor& beta_c, const Tensor& h_0, const Tensor& c_0, const Tensor& memory,
                         int64_t k, double eps) {
  return infer(forward_arguments(x, weight_ih, weight_hh, bias_ih, bias_hh, bias, gamma_ih, gamma_hh, gamma_c, beta_c,
                                 h_0, c_0, memory, k, eps));
}

LayerGradients lstm_backward(const OptionalTensor& dh, const OptionalTensor& dc, const OptionalTensor& dsteps,
                             const Tensor& x, const Tensor& weight_ih, const Tensor& weight_hh,
                             const OptionalTensor& bias_ih, const OptionalTensor& bias_hh, const OptionalTensor& bias,
                             const OptionalTensor& gamma_ih, const OptionalTensor& gamma_hh,
                             const OptionalTensor& gamma_c, const OptionalTensor& beta_c, const Tensor& h_0,
                             const Tensor& c_0, const Tensor& h, const Tensor& c, const Tensor& steps,
                             const Tensor& kept_ih, const Tensor& kept_hh, const Tensor& gates, const Tensor& windows,
                             int64_t k, double eps, bool needs_x, bool needs_weights) {
  return run(LSTMBackwardArguments{
      .dh = dh,
      .dc = dc,
      .dsteps = dsteps,
      .x = x,
      .weight_ih = weight_ih,
      .weight_hh = weight_hh,
      .bias_ih = bias_ih,
      .bias_hh = bias_hh,
      .bias = bias,
      .gamma_ih = gamma_ih,
      .gamma_hh = gamma_hh,
      .gamma_c = gamma_c,
      .beta_c = beta_c,
      .h_0 = h_0,
      .c_0 = c_0,
      .h = h,
      .c = c,
      .steps = steps,
      .kept_ih = kept_ih,
      .kept_hh = kept_hh,
      .gates = gates,
      .windows = windows,
      .k = k,
      .eps = eps,
      .needs_x = needs_x,
      .needs_weights = needs_weights,
  });
}

HiddenForwardArguments hidden_arguments(const Tensor& x, const Tensor& weight_ih, const Tensor& weight_hh,
                                        const OptionalTensor& bias_ih, const OptionalTensor& bias_hh,
                                        const HiddenAffine& affine, const Tensor& h_0, const Tensor& memory,
                                        std::string_view mode, int64_t k, double eps) {
  return {
      .x = x,
      .weight_ih = weight_ih,
      .weight_hh = weight_hh,
      .bias_ih = bias_ih,
      .bias_hh = bias_hh,
      .affine = affine,
      .h_0 = h_0,
      .memory = memory,
      .mode = mode,
      .k = k,
      .eps = eps,
  };
}

HiddenOutput hidden_forward(const Tensor& x, const Tensor& weight_ih, const Tensor& weight_hh,
                            const OptionalTensor& bias_ih, const OptionalTensor& bias_hh,
                            const OptionalTensor& gamma_ih, const OptionalTensor& beta_ih,
                            const OptionalTensor& gamma_hh, const OptionalTensor& beta_hh, const Tensor& h_0,
                            const Tensor& memory, std::string mode, int64_t k, double eps) {
  return run(hidden_arguments(x, weight_ih, weight_hh, bias_ih, bias_hh, {gamma_ih, beta_ih, gamma_hh, beta_hh}, h_0,
                              memory, mode, k, eps));
}

HiddenInferenceOutput hidden_inference(const Tensor& x, const Tensor& weight_ih, const Tensor& weight_hh,
                                       const OptionalTensor& bias_ih, const OptionalTensor& bias_hh,
                                       const OptionalTensor& gamma_ih, const OptionalTensor& beta_ih,
                                       const OptionalTensor& gamma_hh, const OptionalTensor& beta_hh,
                                       const Tensor& h_0, const Tensor& memory, std::string mode, int64_t k,
                                       double eps) {
  return infer(hidden_arguments(x, weight_ih, weight_hh, bias_ih, bias_hh, {gamma_ih, beta_ih, gamma_hh, beta_hh}, h_0,
                                memory, mode, k, eps));
}

HiddenGradients hidden_backward(const OptionalTensor& dh, const OptionalTensor& dsteps, const Tensor& x,
                                const Tensor& weight_ih, const Tensor& weight_hh, const OptionalTensor& bias_ih,
                                const OptionalTensor& gamma_ih, const OptionalTensor& beta_ih,
                                const OptionalTensor& gamma_hh, const OptionalTensor& beta_hh, const Tensor& h_0,
                                const Tensor& h, const Tensor& steps, const Tensor& kept_ih, const Tensor& kept_hh,
                                const Tensor& gates, const Tensor& windows, std::string mode, int64_t k, double eps) {
  return run(HiddenBackwardArguments{
      .dh = dh,
      .dsteps = dsteps,
      .x = x,
      .weight_ih = weight_ih,
      .weight_hh = weight_hh,
      .bias_ih = bias_ih,
      .affine = {gamma_ih, beta_ih, gamma_hh, beta_hh},
      .h_0 = h_0,
      .h = h,
      .steps = steps,
      .kept_ih = kept_ih,
      .kept_hh = kept_hh,
      .gates = gates,
      .windows = windows,
      .mode = mode,
      .k = k,
      .eps = eps,
  });
}

StackOutput lstm_stack_inference(const Tensor& x, at::TensorList parameters, const OptionalTensor& h_0,
                                 const OptionalTensor& c_0, at::TensorList memory, int64_t H, int64_t k, double eps,
                                 bool biased, bool affine, bool inside) {
  return infer(StackArguments{
      .x = x,
      .parameters = parameters,
      .h_0 = h_0,
      .c_0 = c_0,
      .memory = memory,
      .settings = {.H = H, .k = k, .eps = eps, .biased = biased, .affine = affine, .inside = inside},
  });
}

}  // namespace
}  // namespace atn

// The names and their order are those of atn/backend/custom_ops/signatures.py; a test compares them.
TORCH_LIBRARY(atn_compiled, library) {
  library.def(
      "norm_forward(Tensor a, Tensor? gamma, Tensor? beta, Tensor memory, int k, float eps)"
      " -> (Tensor, Tensor, Tensor)",
      &atn::norm_forward);
  library.def(
      "norm_backward(Tensor dy, Tensor? dsteps, Tensor a, Tensor? gamma, Tensor steps, Tensor windows, int k,"
      " float eps) -> (Tensor, Tensor, Tensor, Tensor)",
      &atn::norm_backward);
  library.def(
      "lstm_forward(Tensor x, Tensor weight_ih, Tensor weight_hh, Tensor? bias_ih, Tensor? bias_hh, Tensor? bias,"
      " Tensor? gamma_ih, Tensor? gamma_hh, Tensor? gamma_c, Tensor? beta_c, Tensor h_0, Tensor c_0, Tensor memory,"
      " int k, float eps) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
      &atn::lstm_forward);
  library.def(
      "lstm_inference(Tensor x, Tensor weight_ih, Tensor weight_hh, Tensor? bias_ih, Tensor? bias_hh, Tensor? bias,"
      " Tensor? gamma_ih, Tensor? gamma_hh, Tensor? gamma_c, Tensor? beta_c, Tensor h_0, Tensor c_0, Tensor memory,"
      " int k, float eps) -> (Tensor, Tensor, Tensor)",
      &atn::lstm_inference);
  library.def(
      "lstm_backward(Tensor? dh, Tensor? dc, Tensor? dsteps, Tensor x, Tensor weight_ih, Tensor weight_hh,"
      " Tensor? bias_ih, Tensor? bias_hh, Tensor? bias, Tensor? gamma_ih, Tensor? gamma_hh, Tensor? gamma_c,"
      " Tensor? beta_c, Tensor h_0, Tensor c_0, Tensor h, Tensor c, Tensor steps, Tensor kept_ih, Tensor kept_hh,"
      " Tensor gates, Tensor windows, int k, float eps, bool needs_x, bool needs_weights)"
      " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
      &atn::lstm_backward);
  library.def(
      "hidden_forward(Tensor x, Tensor weight_ih, Tensor weight_hh, Tensor? bias_ih, Tensor? bias_hh, Tensor? gamma_ih,"
      " Tensor? beta_ih, Tensor? gamma_hh, Tensor? beta_hh, Tensor h_0, Tensor memory, str mode, int k, float eps)"
      " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
      &atn::hidden_forward);
  library.def(
      "hidden_inference(Tensor x, Tensor weight_ih, Tensor weight_hh, Tensor? bias_ih, Tensor? bias_hh,"
      " Tensor? gamma_ih, Tensor? beta_ih, Tensor? gamma_hh, Tensor? beta_hh, Tensor h_0, Tensor memory, str mode,"
      " int k, float eps) -> (Tensor, Tensor)",
      &atn::hidden_inference);
  library.def(
      "hidden_backward(Tensor? dh, Tensor? dsteps, Tensor x, Tensor weight_ih, Tensor weight_hh, Tensor? bias_ih,"
      " Tensor? gamma_ih, Tensor? beta_ih, Tensor? gamma_hh, Tensor? beta_hh, Tensor h_0, Tensor h, Tensor steps,"
      " Tensor kept_ih, Tensor kept_hh, Tensor gates, Tensor windows, str mode, int k, float eps)"
      " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
      &atn::hidden_backward);
  library.def(
      "lstm_stack_inference(Tensor x, Tensor[] parameters, Tensor? h_0, Tensor? c_0, Tensor[] memory, int H, int k,"
      " float eps, bool biased, bool affine, bool inside) -> (Tensor, Tensor, Tensor, Tensor[])",
      &atn::lstm_stack_inference);
}
