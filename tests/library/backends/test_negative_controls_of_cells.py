"""Bugs planted in the RNN and the GRU, each found by the comparison with the oracle that is named beside it.

Those of the fused backend are planted in its plain loop, or in what its compiled kernels are given or give.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from atn import window
from atn.backend import eager, eager_cells
from atn.backend.fused import backend as fused
from atn.backend.fused import fallback, fallback_cells
from tests.support.against_oracle import compare_hidden_shaped_like_the_paper
from tests.support.planted import planted

Plant = Callable[[pytest.MonkeyPatch], None]

RNN = partial(
    compare_hidden_shaped_like_the_paper,
    backend="eager", cell="RNN_TANH", bias_placement="outside", k=12, dtype="float64",
)  # fmt: skip
GRU = partial(
    compare_hidden_shaped_like_the_paper, backend="eager", cell="GRU", bias_placement="outside", k=12, dtype="float64"
)

# ---- either cell ---------------------------------------------------------------------------------------------------


def input_row_not_normalized(monkeypatch: pytest.MonkeyPatch) -> None:
    """The norm around W_hh h alone; the statistics of the other row are kept all the same."""

    def eager_norm(a: Tensor, gamma: Tensor, beta: Tensor, *rest: Any) -> tuple[Tensor, Any]:
        return a * gamma + beta, eager.eager_norm(a, gamma, beta, *rest)[1]

    monkeypatch.setattr(eager_cells, "eager_norm", eager_norm)


def recurrent_window_off_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A window of k + 1 steps around W_hh h."""
    monkeypatch.setattr(eager_cells, "window_of_steps", lambda k, memory: window.window_of_steps(k + 1, memory))


def gain_forgotten_in_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recurrent row with its shift and without its gain."""
    monkeypatch.setattr(eager_cells, "affine", lambda xhat, gamma, beta: xhat + 0 * gamma + beta)


def shift_or_bias_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shifts of the norms without the biases."""
    monkeypatch.setattr(eager_cells, "total", lambda beta, bias: beta + 0 * bias)


def no_gradient_through_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step starts from the state before as from a constant."""
    original = eager_cells._time_loop

    def time_loop(step: Any, from_input: Tensor, recurrent: Any, h: Tensor) -> Tensor:
        def constant(h: Tensor) -> Tensor:
            return h.detach() + 0 * h

        return original(lambda a, b, h: step(a, b, constant(h)), from_input, lambda h: recurrent(constant(h)), h)

    monkeypatch.setattr(eager_cells, "_time_loop", time_loop)


# ---- the GRU -------------------------------------------------------------------------------------------------------


def update_gate_the_other_way_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Z * n + (1 - z) * h, as some papers write it."""

    def step(a_ih: Tensor, a_hh: Tensor, h: Tensor) -> Tensor:
        r, z, n = gates(a_ih, a_hh)
        return z * n + (1 - z) * h + 0 * r

    monkeypatch.setattr(eager_cells, "gru_step", step)


def rows_of_another_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows read as z, r, n."""
    original = eager_cells.gru_step

    def swapped(a: Tensor) -> Tensor:
        r, z, n = a.chunk(3, 1)
        return torch.cat((z, r, n), 1)

    monkeypatch.setattr(eager_cells, "gru_step", lambda a, b, h: original(swapped(a), swapped(b), h))


def reset_gate_on_both_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reset gate multiplies the input's row of n too."""

    def step(a_ih: Tensor, a_hh: Tensor, h: Tensor) -> Tensor:
        r, z, _ = gates(a_ih, a_hh)
        n = (r * (a_ih + a_hh).chunk(3, 1)[2]).tanh()
        return (1 - z) * n + z * h

    monkeypatch.setattr(eager_cells, "gru_step", step)


def reset_gate_without_a_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reset gate taken for a constant."""

    def step(a_ih: Tensor, a_hh: Tensor, h: Tensor) -> Tensor:
        r, z, _ = gates(a_ih, a_hh)
        n = (a_ih.chunk(3, 1)[2] + r.detach() * a_hh.chunk(3, 1)[2]).tanh()
        return (1 - z) * n + z * h

    monkeypatch.setattr(eager_cells, "gru_step", step)


def gates(a_ih: Tensor, a_hh: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gates and the candidate of a right GRU."""
    (r_ih, z_ih, n_ih), (r_hh, z_hh, n_hh) = a_ih.chunk(3, 1), a_hh.chunk(3, 1)
    r = (r_ih + r_hh).sigmoid()
    return r, (z_ih + z_hh).sigmoid(), (n_ih + r * n_hh).tanh()


# ---- the kernels of either cell --------------------------------------------------------------------------------------


def kernel_of_a_longer_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """A window of k + 1 steps in the forward pass of the kernel."""
    planted(monkeypatch, "hidden_forward", lambda kernel, given: kernel(given._replace(k=given.k + 1)))


def kernel_with_the_gains_exchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gain of the input's row in the place of the recurrent one's, in the backward pass of the kernel."""
    planted(
        monkeypatch,
        "hidden_backward",
        lambda kernel, given: kernel(given._replace(gamma_ih=given.gamma_hh, gamma_hh=given.gamma_ih)),
    )


def kernel_without_gradients_of_old_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backward pass in which each step's statistics are those of its own window of one step."""
    planted(monkeypatch, "hidden_backward", lambda kernel, given: kernel(given._replace(k=1)))


def kernel_whose_state_starts_at_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first state forgotten in the forward pass of the kernel."""
    planted(
        monkeypatch, "hidden_forward", lambda kernel, given: kernel(given._replace(h_0=torch.zeros_like(given.h_0)))
    )


def shift_gradient_of_one_row_for_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a GRU the recurrent shift of n is multiplied by the reset gate, and its gradient is not the other shift's."""

    def change(kernel: Any, given: Any) -> Any:
        da_ih, da_hh, dgamma_ih, dbeta_ih, dgamma_hh, _, *rest = kernel(given)
        return da_ih, da_hh, dgamma_ih, dbeta_ih, dgamma_hh, dbeta_ih.clone(), *rest

    planted(monkeypatch, "hidden_backward", change)


# ---- the equations of the plain loop ---------------------------------------------------------------------------------


def loop_with_the_slope_of_a_preactivation(monkeypatch: pytest.MonkeyPatch) -> None:
    """1 - h of the tanh in the place of 1 - h^2."""

    def backward(_: Any, dh: Tensor, h: Tensor, *__: Tensor) -> Any:
        d = dh * (1 - h)
        return fallback_cells._CellGradients(d, d, torch.zeros_like(dh))

    monkeypatch.setattr(fused, "kernels", lambda: fallback)
    monkeypatch.setattr(fallback_cells._RNN, "backward", backward)


def loop_without_the_way_beside_the_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """No gradient through z * h."""
    original = fallback_cells._GRU.backward

    def backward(cell: Any, *given: Tensor) -> Any:
        return original(cell, *given)._replace(h=torch.zeros_like(given[0]))

    monkeypatch.setattr(fused, "kernels", lambda: fallback)
    monkeypatch.setattr(fallback_cells._GRU, "backward", backward)


def loop_with_one_gradient_for_both_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient of the recurrent row of n without the reset gate."""
    original = fallback_cells._GRU.backward

    def backward(cell: Any, *given: Tensor) -> Any:
        found = original(cell, *given)
        return found._replace(hh=found.ih)

    monkeypatch.setattr(fused, "kernels", lambda: fallback)
    monkeypatch.setattr(fallback_cells._GRU, "backward", backward)


KERNELS = (
    kernel_of_a_longer_window,
    kernel_with_the_gains_exchanged,
    kernel_without_gradients_of_old_steps,
    kernel_whose_state_starts_at_zero,
)
GRU_KERNELS = (
    shift_gradient_of_one_row_for_both,
    loop_without_the_way_beside_the_product,
    loop_with_one_gradient_for_both_rows,
)
EITHER = (
    input_row_not_normalized,
    recurrent_window_off_by_one,
    gain_forgotten_in_the_loop,
    shift_or_bias_forgotten,
    no_gradient_through_time,
)
GRU_ALONE = (
    update_gate_the_other_way_round,
    rows_of_another_library,
    reset_gate_on_both_rows,
    reset_gate_without_a_gradient,
)
CONTROLS: dict[str, tuple[Plant, Callable[[], None]]] = {
    **{f"RNN, {plant.__name__}": (plant, RNN) for plant in EITHER},
    **{f"GRU, {plant.__name__}": (plant, GRU) for plant in (*EITHER, *GRU_ALONE)},
    **{
        f"RNN, {plant.__name__}": (plant, partial(RNN, backend="fused"))
        for plant in (*KERNELS, loop_with_the_slope_of_a_preactivation)
    },
    **{f"GRU, {plant.__name__}": (plant, partial(GRU, backend="fused")) for plant in (*KERNELS, *GRU_KERNELS)},
}


@pytest.mark.parametrize(("plant", "named_test"), CONTROLS.values(), ids=list(CONTROLS))
def test_planted_bug_is_found(plant: Plant, named_test: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    named_test()
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        named_test()
