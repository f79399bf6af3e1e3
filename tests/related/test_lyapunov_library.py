"""`atn.lyapunov`: Jacobians against complex steps of the oracle on every backend, and the spectra made of them."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.utils import prune

from atn import ATNLSTM, LSTMState
from atn.lyapunov import exponents, jacobians, spectrum, stepping
from atn.lyapunov.growth import general_directions
from atn_reference import lyapunov_exponents
from tests.support.comparison import assert_close
from tests.support.hidden_cells import make_hidden_module
from tests.support.lstms import DOUBLE, random, with_random_parameters
from tests.support.lyapunov import oracle_jacobians
from tests.support.problems import HiddenProblem, LSTMProblem
from tests.support.runners import BACKENDS, make_module

SMALL = LSTMProblem(
    T=7, B=2, I=3, H=4, layers=1, directions=1, norm="none", k=1, eps=1e-2, bias_placement="inside",
    bias=True, affine=True, initial_state=False, seed=6,
)  # fmt: skip

NORMS: dict[str, dict[str, Any]] = {
    "none": {},
    "ln": {"norm": "ln"},
    "atn, k = 1": {"norm": "atn"},
    "atn, k = 2": {"norm": "atn", "k": 2},
    "atn, k = 4": {"norm": "atn", "k": 4},
    "prop": {"norm": "prop"},
    "wn": {"norm": "wn"},
}


def small(norm: str) -> LSTMProblem:
    return dataclasses.replace(SMALL, **NORMS[norm])


def module(**settings: Any) -> ATNLSTM:
    return with_random_parameters(ATNLSTM(3, 4, **{**DOUBLE, **settings}))


class TestJacobians:
    """Row i, column j is the derivative of the coordinate i of the next state by the coordinate j."""

    @pytest.mark.claim("ly-window-state")
    @pytest.mark.parametrize("minimal", [True, False])
    @pytest.mark.parametrize("backend", BACKENDS)
    @pytest.mark.parametrize("norm", NORMS)
    def test_lstm_against_the_oracle(self, norm: str, backend: str, minimal: bool) -> None:  # noqa: FBT001 - a parameter of the test
        problem = small(norm)
        x = torch.from_numpy(problem.arrays["x"])
        found = jacobians(make_module(problem, backend, "float64"), x, minimal=minimal)[0, :, 0]
        assert_close(found, oracle_jacobians(problem, minimal=minimal), quantity="gradient", backend=backend)

    @pytest.mark.parametrize("minimal", [True, False])
    @pytest.mark.parametrize(("cell", "norm"), [("GRU", "atn, k = 4"), ("GRU", "none"), ("RNN_TANH", "atn, k = 2")])
    def test_other_cells_against_the_oracle(self, cell: Any, norm: str, minimal: bool) -> None:  # noqa: FBT001 - the same
        problem = HiddenProblem(cell=cell, **{**dataclasses.asdict(SMALL), **NORMS[norm]})
        found = jacobians(make_hidden_module(problem), torch.from_numpy(problem.arrays["x"]), minimal=minimal)[0, :, 0]
        assert_close(found, oracle_jacobians(problem, minimal=minimal), quantity="gradient", backend="eager")

    @pytest.mark.claim("ly-adjoint")
    @pytest.mark.parametrize("backend", BACKENDS)
    def test_gradient_after_many_steps(self, backend: str) -> None:
        """The hand-written backward pass through all steps is the transposed product, of LN at every eps."""
        lstm, x = module(norm="ln", backend=backend), random(9, 1, 3)
        state = [torch.zeros(1, 8, 4, dtype=torch.float64, requires_grad=True) for _ in range(2)]
        _, ends = lstm(x.expand(9, 8, 3), tuple(state))
        upstream = torch.eye(8, dtype=torch.float64).unsqueeze(0).chunk(2, dim=2)
        found = torch.cat(torch.autograd.grad(ends, state, upstream), 2)[0]
        product = torch.linalg.multi_dot(list(jacobians(lstm, x)[0, :, 0].flip(0)))
        assert_close(found, product, quantity="gradient", backend=backend)

    def test_layers(self) -> None:
        """The blocks on the diagonal of the whole Jacobian, whose other half is zero: all exponents are the layers'."""
        lstm, x = module(num_layers=2, norm="none"), random(4, 1, 3)

        def step(vector: torch.Tensor, one: torch.Tensor, like: LSTMState) -> torch.Tensor:
            h, c = vector.reshape(2, 2, 1, 4).unbind(1)  # by layer, then h and c
            _, after = lstm.stream(one, like._replace(h=h, c=c))
            return torch.stack([after.h, after.c], 1).flatten()

        _, state = lstm.stream(x[:1])
        whole = []
        for one in x[1:].unsqueeze(1).unbind():
            vector = torch.stack([state.h, state.c], 1).flatten()
            whole.append(torch.func.jacrev(lambda v, o=one, s=state: step(v, o, s))(vector))
            _, state = lstm.stream(one, state)
        together = torch.stack(whole).detach()
        found = jacobians(lstm, x, burn_in=1)[:, :, 0]
        assert_close(found[0], together[:, :8, :8], quantity="gradient", backend="fused")
        assert_close(found[1], together[:, 8:, 8:], quantity="gradient", backend="fused")
        assert together[:, :8, 8:].abs().max() == 0
        assert together[:, 8:, :8].abs().max() > 0
        total = spectrum(lstm, x, burn_in=1).exponents.sum()
        assert_close(total, together.slogdet()[1].mean(), quantity="gradient", backend="fused")


class TestSpectrum:
    """Exponents of a module."""

    @pytest.mark.claim("ly-algorithm")
    @pytest.mark.parametrize(("norm", "k"), [("none", None), ("atn", 3)])
    def test_against_the_oracle(self, norm: Any, k: int | None) -> None:
        """Burn-in, a count, decompositions every few steps: from the Jacobians of each sequence."""
        problem = dataclasses.replace(SMALL, norm=norm, k=k or 1, T=14)
        x = torch.from_numpy(problem.arrays["x"])
        found = spectrum(make_module(problem, "auto", "float64"), x, count=5, burn_in=6, every=3).exponents
        first = (k or 1) - 1
        for case in range(2):
            J = oracle_jacobians(problem, problem.arrays["x"][:, case])
            Q = general_directions(J.shape[1], 5, x).numpy()
            assert_close(found[0, case], lyapunov_exponents(J, Q, 6 - first, 3), quantity="gradient", backend="auto")

    @pytest.mark.claim("ly-window-state")
    def test_all_coordinates(self) -> None:
        """Those that the minimal ones leave out are forgotten: 2k exponents are -inf."""
        lstm, x = module(k=3), random(9, 2, 3)
        minimal, full = spectrum(lstm, x), spectrum(lstm, x, minimal=False)
        assert full.exponents.shape == (1, 2, 2 * 4 + 6 * 2)
        assert full.exponents[..., :-6].equal(minimal.exponents)
        assert full.exponents[..., -6:].eq(-math.inf).all()
        assert minimal.exponents.isfinite().all()
        assert full.hidden[..., -6:].eq(1).all()

    @pytest.mark.claim("ly-ln-forgets")
    def test_forgotten_directions_of_layer_norm(self) -> None:
        """Rounding would show them as about -36; at the paper's initialization there are two, with a window none."""
        x = random(12, 1, 3)
        counts = {}
        norms: dict[str, dict[str, Any]] = {"ln": {"norm": "ln"}, "atn": {"k": 2}}
        for name, settings in norms.items():
            lstm = ATNLSTM(3, 6, eps=1e-30, init="paper", **settings, **DOUBLE)
            counts[name] = int(spectrum(lstm, x, burn_in=4).exponents.eq(-math.inf).sum())
        assert counts == {"ln": 2, "atn": 0}

    def test_mean_and_spread(self) -> None:
        found = spectrum(module(norm="ln"), random(6, 3, 3))
        assert_close(found.mean, found.exponents.mean(1), quantity="exact", backend="auto")
        expected = np.std(found.exponents.numpy(), axis=1, ddof=1)
        assert_close(found.spread.numpy(), expected, quantity="output", backend="auto")
        assert spectrum(module(norm="ln"), random(6, 1, 3)).spread.isnan().all()

    def test_layouts(self) -> None:
        lstm, x = module(k=2), random(6, 2, 3)
        expected = spectrum(lstm, x).exponents
        first = module(k=2, batch_first=True)
        assert spectrum(first, x.transpose(0, 1)).exponents.equal(expected)
        assert spectrum(lstm, x[:, 1]).exponents.equal(expected[:, 1:])

    def test_pieces_bound_the_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """However small the pieces are, the numbers are the same, and no call has more cases than a piece."""
        lstm, x = module(k=2), random(6, 2, 3)
        expected, cases, run = jacobians(lstm, x), [], stepping.Stepper.run

        def counted(self: stepping.Stepper, data: torch.Tensor, state: Any) -> Any:
            cases.append(data.shape[1])
            return run(self, data, state)

        monkeypatch.setattr(stepping.Stepper, "run", counted)
        monkeypatch.setattr(stepping, "LARGEST", 7 * (4 * 4 + 10))
        seen: list[tuple[int, int]] = []
        found = jacobians(lstm, x, progress=lambda done, total: seen.append((done, total)))
        assert_close(found, expected, quantity="output", backend="auto")
        assert max(cases) == 7
        assert seen == [(step, 5) for step in range(1, 6)]

    @pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
    def test_leaves_everything_as_it_was(self, context: Any) -> None:
        """Computed in float64 from a module in float32 in training, under a context without gradients."""
        lstm = ATNLSTM(3, 4, k=2)
        before = {name: value.clone() for name, value in lstm.state_dict().items()}
        generator = torch.get_rng_state()
        with context():
            found = spectrum(lstm, torch.zeros(5, 2, 3) + 0.5)
        assert found.exponents.dtype == torch.float64
        assert not found.exponents.requires_grad
        assert lstm.training
        assert all(parameter.grad is None for parameter in lstm.parameters())
        assert all(value.equal(before[name]) for name, value in lstm.state_dict().items())
        assert torch.get_rng_state().equal(generator)
        double = ATNLSTM(3, 4, k=2, **DOUBLE)
        double.load_state_dict(lstm.state_dict())
        assert spectrum(double, torch.full((5, 2, 3), 0.5, dtype=torch.float64)).exponents.equal(found.exponents)


class TestContract:
    """Calls as users make them."""

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_autocast_leaves_the_exponents_as_they_are(self, dtype: torch.dtype) -> None:
        steps = 0.5 * random(6, 2, 3, 3).to(dtype)
        expected = exponents(steps)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(exponents(steps), expected)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_types_are_computed_in_float32(self, dtype: torch.dtype) -> None:
        steps = (0.5 * random(6, 2, 3, 3)).to(dtype)
        found = exponents(steps)
        assert found.dtype == dtype
        assert torch.equal(found, exponents(steps.float()).to(dtype))
        start = torch.eye(3, 2, dtype=dtype)
        assert torch.equal(exponents(steps, start), exponents(steps.float(), start.float()).to(dtype))

    def test_integers_of_numpy(self) -> None:
        lstm, x = module(norm="none"), random(6, 2, 3)
        expected = spectrum(lstm, x, burn_in=2, count=3, every=2)
        found = spectrum(lstm, x, burn_in=np.int64(2), count=np.int64(3), every=np.int64(2))  # type: ignore[arg-type]  # NumPy's
        assert torch.equal(found.exponents, expected.exponents)

    @pytest.mark.parametrize("default", [torch.float64, torch.float16], ids=str)
    def test_another_default_dtype(self, default: torch.dtype) -> None:
        given = random(6, 3, 4, 4).float()
        expected = exponents(given)
        try:
            torch.set_default_dtype(default)
            found = exponents(given)
        finally:
            torch.set_default_dtype(torch.float32)
        assert found.dtype == torch.float32
        assert found.equal(expected)

    def test_another_default_device(self) -> None:
        lstm, x = module(norm="none"), random(4, 2, 3)
        expected = spectrum(lstm, x)
        with torch.device("meta"):
            found = spectrum(lstm, x)
        assert torch.equal(found.exponents, expected.exponents)

    @pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
    @pytest.mark.parametrize("hook", ["pruning", "weight normalization"])
    def test_weights_that_hooks_compute_stay_the_model_s(self, hook: str) -> None:
        """They keep their graph, so that a penalty on them has a gradient."""
        lstm = module(norm="none")
        if hook == "pruning":
            prune.l1_unstructured(lstm, "weight_hh_l0", amount=0.5)  # type: ignore[no-untyped-call]  # torch's own
        else:
            torch.nn.utils.weight_norm(lstm, "weight_hh_l0")
        lstm(random(2, 2, 3))
        before = lstm.weight_hh_l0
        assert isinstance(before, torch.Tensor)
        spectrum(lstm, random(4, 2, 3))
        assert lstm.weight_hh_l0 is before
        torch.autograd.backward(torch.square(before).sum())
        assert any(p.grad is not None for p in lstm.parameters())
