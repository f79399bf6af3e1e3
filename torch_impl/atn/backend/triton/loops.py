"""The time loops of a layer: their kernels, the order of these, and their tensors.

A small layer takes one kernel for all steps; a larger layer takes one matrix product and one kernel per step. Letters:
T time, B cases, H hidden, k window length (0: no norm), M steps of memory.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from atn.backend.triton import backward, blocks, forward
from atn.backend.triton.blocks import blocks_of_step


class ForwardLoop(NamedTuple):
    """Tensors of the forward time loop; None for one that the layer does not have or does not keep."""

    from_input: Tensor
    """Sum of all terms of the gates other than the norm of the product with the state (T, B, 4H)."""
    weight_hh: Tensor
    bias_hh: Tensor | None
    gamma_hh: Tensor | None
    gamma_c: Tensor | None
    beta_c: Tensor | None
    state: Tensor
    carry: Tensor
    """h and c (B, H) before the first step; after the run, those after the last step."""
    steps: Tensor
    """Step statistics (3, 2, M + T, B); (3, 2, 0, B) without a norm."""
    a_hh: Tensor
    """Products with the state: of all steps (T, B, 4H), or of the current step (1, B, 4H)."""
    h: Tensor
    """(T, B, H)."""
    c: Tensor | None
    """(T, B, H)."""
    gates: Tensor | None
    """(T, B, 4H)."""
    windows: Tensor | None
    """Statistics by window (3, 2, T, B)."""

    def run(self, k: int, eps: float) -> None:
        """Run all steps, from first to last: update `state` and `carry`, and write the fields from `h` to `windows`."""
        T, B, H = self.h.shape
        M = self.steps.shape[2] - T if k > 0 else 0
        k = min(k, M + T)
        pointers = {
            "carry": self.carry,
            "from_input": self.from_input,
            "gamma_hh": self.gamma_hh,
            "gamma_c": self.gamma_c,
            "beta_c": self.beta_c,
            "state": self.state,
            "h": self.h,
            "c": self.c,
            "gates": self.gates,
            **pair("steps", self.steps),
            **pair("windows", self.windows),
        }
        settings: dict[str, Any] = {
            "T": T,
            "B": B,
            "H": H,
            "M": M,
            "k": k,
            "eps": eps,
            "KEEP": self.gates is not None,
            **parameters(k, self.gamma_hh, self.gamma_c, self.beta_c),
            **blocks_of_step(H, k, self.h.dtype).of_step(),
        }
        every_step = self.a_hh.shape[0] == T
        if H <= blocks.LARGEST_AT_ONCE:
            forward.lstm_all_steps[B,](
                weight_hh=self.weight_hh, bias_hh=self.bias_hh, a_hh=self.a_hh, **pointers, **settings,
                HAS_BIAS=self.bias_hh is not None, EVERY_STEP=every_step, BLOCK_J=blocks.PART_OF_A_PRODUCT,
            )  # fmt: skip
            return
        for t in range(T):
            from_state = self.a_hh[t if every_step else 0]
            if self.bias_hh is None:
                torch.mm(self.state, self.weight_hh.t(), out=from_state)
            else:
                torch.addmm(self.bias_hh, self.state, self.weight_hh.t(), out=from_state)
            forward.lstm_step[B,](from_state=from_state, **pointers, t=t, **settings)


class BackwardLoop(NamedTuple):
    """Tensors of the backward time loop; None for one that the layer lacks, or if the loss does not depend on it."""

    dh_out: Tensor | None
    dc_out: Tensor | None
    """Upstream gradients of the outputs h and c (T, B, H)."""
    weight_hh: Tensor
    gamma_hh: Tensor | None
    gamma_c: Tensor | None
    beta_c: Tensor | None
    c_0: Tensor
    c: Tensor
    gates: Tensor
    a_hh: Tensor
    steps: Tensor
    windows: Tensor
    """The five fields up to this one are as in `ForwardLoop`."""
    dh: Tensor
    dc: Tensor
    """Gradients of state and carry (B, H): zero before the run, those of the initial state after it."""
    dsteps: Tensor
    dwindows: Tensor
    dgates: Tensor
    """Gradients of the gates before their activation (T, B, 4H)."""
    dz: Tensor | None
    """Gradients of z in ``h = o * tanh(z)`` (T, B, H)."""
    da_hh: Tensor
    """Gradients of the products with the state (T, B, 4H); empty without a norm, where they equal `dgates`."""

    def run(self, k: int) -> None:
        """Run all steps, from the last to the first, and write every field from `dh` on."""
        T, B, H = self.c.shape
        normed = k > 0
        M = self.steps.shape[2] - T if normed else 0
        pointers = {
            "dh": self.dh,
            "dc": self.dc,
            "dh_out": self.dh_out,
            "dc_out": self.dc_out,
            "gamma_hh": self.gamma_hh,
            "gamma_c": self.gamma_c,
            "beta_c": self.beta_c,
            "c_0": self.c_0,
            "c": self.c,
            "gates": self.gates,
            "a_hh": self.a_hh,
            "dgates": self.dgates,
            "dz": self.dz,
            "da_hh": self.da_hh,
            **pair("steps", self.steps),
            **pair("windows", self.windows),
            **pair("dsteps", self.dsteps),
            **pair("dwindows", self.dwindows),
        }
        settings: dict[str, Any] = {
            "T": T,
            "B": B,
            "H": H,
            "M": M,
            "k": min(k, M + T),
            "HAS_DH": self.dh_out is not None,
            "HAS_DC": self.dc_out is not None,
            "HAS_DZ": self.dz is not None,
            **parameters(k, self.gamma_hh, self.gamma_c, self.beta_c),
            **blocks_of_step(H, min(k, T), self.gates.dtype).of_step(),
        }
        if H <= blocks.LARGEST_AT_ONCE:
            backward.lstm_all_steps_backward[B,](
                weight_hh=self.weight_hh, **pointers, **settings, BLOCK_J=blocks.PART_OF_A_PRODUCT
            )
            return
        for t in reversed(range(T)):
            backward.lstm_step_backward[B,](**pointers, t=t, **settings)
            torch.mm((self.da_hh if normed else self.dgates)[t], self.weight_hh, out=self.dh)


def pair(name: str, of_norms: Tensor | None) -> dict[str, Tensor | None]:
    """The kernel arguments `name` of the norms hh and c, from the statistics (3, 2, R, B) of ih, hh and c."""
    _, of_hh, of_c = (None, None, None) if of_norms is None else of_norms
    return {f"{name}_hh": of_hh, f"{name}_c": of_c}


def parameters(k: int, gamma_hh: Tensor | None, gamma_c: Tensor | None, beta_c: Tensor | None) -> dict[str, bool]:
    """The compile-time flags of a layer's kernels: whether it has a norm, gains and a shift."""
    return {
        "NORMED": k > 0,
        "HAS_GAMMA_HH": gamma_hh is not None,
        "HAS_GAMMA_C": gamma_c is not None,
        "HAS_BETA_C": beta_c is not None,
    }
