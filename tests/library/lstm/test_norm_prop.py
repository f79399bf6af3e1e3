"""`norm="prop"`, Norm-Prop (Laurent, Ballas, Vincent 2017), beyond what `test_against_oracle` holds to the oracle."""

import copy
import dataclasses
from typing import Any

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

from atn import ATNLSTM
from atn.backend.fused import backend as fused
from atn.backend.fused import fallback
from atn_reference import norm_prop
from tests.support.against_oracle import PAPER_LIKE, assert_results_close, round_to
from tests.support.comparison import assert_close
from tests.support.lstms import DOUBLE, random, with_random_parameters
from tests.support.runners import BACKENDS, run_lstm_oracle, run_lstm_torch

PROBLEM = dataclasses.replace(PAPER_LIKE, norm="prop", layers=2, directions=2, T=6)


def lstm(**settings: Any) -> ATNLSTM:
    """Norm-Prop LSTM of 3 features and 5 hidden in float64."""
    return ATNLSTM(3, 5, norm="prop", **settings, **DOUBLE)


def constants(module: ATNLSTM, suffix: str = "l0") -> list[float]:
    """Var c and Var h."""
    return [float(module.get_buffer(f"norm_c_{suffix}.{name}")) for name in ("var_c", "var_h")]


def compare_with_the_oracle(backend: str, dtype: str = "float64") -> None:
    """Two layers in both directions, gradients included."""
    problem = round_to(PROBLEM, dtype) if dtype == "bfloat16" else PROBLEM
    assert_results_close(run_lstm_torch(problem, backend, dtype), run_lstm_oracle(problem), backend)


class TestNumbers:
    """Against the oracle, where no random problem goes."""

    @pytest.mark.claim("np-13", "np-14", "np-15", "np-18", "np-cost")
    @pytest.mark.parametrize("backend", BACKENDS)
    def test_layers_and_directions(self, backend: str) -> None:
        compare_with_the_oracle(backend)

    def test_where_nothing_is_compiled(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(fused, "kernels", lambda: fallback)
        compare_with_the_oracle("fused")

    @pytest.mark.parametrize("backend", BACKENDS)
    def test_bfloat16(self, backend: str) -> None:
        problem = dataclasses.replace(PAPER_LIKE, norm="prop")
        rounded = round_to(problem, "bfloat16")
        assert_results_close(run_lstm_torch(rounded, backend, "bfloat16"), run_lstm_oracle(rounded), backend)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_a_module_cast_to_a_half_type_is_rounded_once(self, dtype: torch.dtype) -> None:
        """Its constants have 16 bits then, but their roots are those of float32."""
        half = with_random_parameters(ATNLSTM(3, 5, norm="prop")).to(dtype)
        full = copy.deepcopy(half).float()
        x = random(30, 3, 3).to(dtype)
        assert torch.equal(half(x)[0], full(x.float())[0].to(dtype))


class TestConstants:
    """Var c and Var h, by the formulas or as given."""

    @pytest.mark.claim("np-8", "np-9-10", "np-12")
    @pytest.mark.parametrize(
        ("settings", "nine_digits"),
        [
            ({}, (0.556948716, 0.161193624)),
            ({"variance": "independent"}, (0.448051928, 0.149829516)),
            ({"gamma": 0.5}, (0.163705499, 0.050905999)),
            ({"gamma": (0.5, 0.5, 1.0), "variance": "literal"}, (0.163705499, 0.115677737)),
            ({"gamma": 0.5, "variance": "independent"}, (0.104004457, 0.047782291)),
            ({"variance": (0.25, 2)}, (0.25, 2.0)),
        ],
        ids=str,
    )
    def test_nine_digits(self, settings: dict[str, Any], nine_digits: tuple[float, float]) -> None:
        module = lstm(num_layers=2, **settings)
        for suffix in ("l0", "l1"):
            assert tuple(round(value, 9) for value in constants(module, suffix)) == nine_digits

    @pytest.mark.parametrize("gains", [(0.3, 7.0, 2.5), (12.0, 30.0, 40.0)])
    def test_they_are_the_oracles_at_any_size(self, gains: tuple[float, float, float]) -> None:
        expected = torch.tensor(norm_prop(*gains), **DOUBLE)
        assert_close(torch.tensor(constants(lstm(gamma=gains)), **DOUBLE), expected, quantity="symbolic")

    def test_those_of_huge_gains_are_their_limits(self) -> None:
        """V(u) tends to 1, and with it Var c to 1 and Var h to 1/2, in the time that it takes for small gains."""
        assert constants(lstm(gamma=1e30)) == [1.0, 0.5]

    def test_they_are_saved_and_not_trained(self) -> None:
        module = lstm(variance=(0.25, 2.0))
        assert not [name for name, _ in module.named_parameters() if "var" in name]
        other = lstm()
        other.load_state_dict(module.state_dict())
        x = random(4, 2, 3)
        assert_close(other(x)[0], module(x)[0], quantity="exact")
        assert constants(copy.deepcopy(other)) == [0.25, 2.0]

    def test_constants_of_one_and_rows_of_one_are_weight_normalization(self) -> None:
        module, plain = lstm(variance=(1, 1), gamma=1.0), ATNLSTM(3, 5, norm="none", **DOUBLE)
        plain.load_state_dict({name: p for name, p in module.state_dict().items() if not name.startswith("norm")})
        x = random(6, 2, 3)
        assert_close(module(x)[0], plain(x)[0], quantity="output")


class TestParameters:
    """Names, starts and the projection."""

    def test_names_are_those_of_the_other_norms_without_shifts(self) -> None:
        names = {name for name, _ in lstm().named_parameters() if name.startswith("norm")}
        assert names == {"norm_ih_l0.weight", "norm_hh_l0.weight", "norm_c_l0.weight"}

    def test_gains_start_as_published(self) -> None:
        module = lstm()
        starts = [module.get_parameter(f"norm_{site}_l0.weight") for site in ("ih", "hh", "c")]
        assert [set(values.tolist()) for values in starts] == [{2.0}, {2.0}, {1.0}]

    @pytest.mark.parametrize("init", ["torch", "paper", "orthogonal"])
    def test_rows_start_with_length_one(self, init: Any) -> None:
        module = ATNLSTM(3, 5, 2, norm="prop", bidirectional=True, init=init, **DOUBLE)
        for weights in module.all_weights:
            for weight in weights[:2]:
                assert_close(weight.square().sum(1), torch.ones(20, **DOUBLE), quantity="output")

    def test_orthogonal_start_has_a_block_for_each_gate(self) -> None:
        module = ATNLSTM(7, 5, norm="prop", init="orthogonal", **DOUBLE)
        for weight in module.all_weights[0][:2]:
            blocks = weight.detach().split(5)  # type: ignore[no-untyped-call]  # torch's own
            for block in blocks:
                assert_close(block @ block.T, torch.eye(5, **DOUBLE), quantity="output")
            assert not torch.equal(blocks[0], blocks[1])
        assert not module.bias_ih_l0.any()  # type: ignore[operator]  # a parameter

    @pytest.mark.claim("np-rows-grow")
    def test_a_step_lengthens_rows_and_the_projection_brings_them_back(self) -> None:
        """By exactly the square of the step; the output stays as it was."""
        module, x, rate = with_unit_rows(), random(5, 2, 3), 0.5
        optimizer = torch.optim.SGD(module.parameters(), lr=rate)
        torch.autograd.backward(random_loss(module, x))
        weight = module.weight_hh_l0
        assert isinstance(weight, torch.nn.Parameter)
        assert weight.grad is not None
        grown = 1 + rate**2 * weight.grad.square().sum(1)
        optimizer.step()
        assert_close(weight.square().sum(1), grown, quantity="output")
        assert float(grown.max()) > 1 + 1e-3
        before = module(x)[0]
        module.project_rows_()
        assert_close(weight.square().sum(1), torch.ones(20, **DOUBLE), quantity="output")
        assert_close(module(x)[0], before, quantity="output")

    def test_projection_as_a_hook_of_the_optimizer(self) -> None:
        module, x = with_unit_rows(), random(5, 2, 3)
        optimizer = torch.optim.Adam(module.parameters())
        optimizer.register_step_post_hook(lambda *_: module.project_rows_())
        for _ in range(2):
            optimizer.zero_grad()
            torch.autograd.backward(random_loss(module, x))
            optimizer.step()
        for weight in module.all_weights[0][:2]:
            assert_close(weight.square().sum(1), torch.ones(20, **DOUBLE), quantity="output")

    @pytest.mark.claim("np-16-17")
    @pytest.mark.parametrize("backend", BACKENDS)
    def test_lengths_of_rows_count_in_no_output(self, backend: str) -> None:
        module, x = with_random_parameters(lstm(backend=backend)), random(5, 2, 3)
        factor = torch.rand(20, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.5
        results = []
        for scale in (torch.ones_like(factor), factor):
            with torch.no_grad():
                module.get_parameter("weight_hh_l0").mul_(scale)
            output = module(x)[0]
            (gradient,) = torch.autograd.grad(output, module.get_parameter("weight_hh_l0"), torch.ones_like(output))
            results.append((output, gradient * scale))
        assert_close(results[1][0], results[0][0], quantity="output", backend=backend)
        assert_close(results[1][1], results[0][1], quantity="gradient", backend=backend)


class TestSequences:
    """Streams and packed sequences."""

    def test_stream_equals_the_whole_and_carries_h(self) -> None:
        module, x = with_random_parameters(lstm(num_layers=2)), random(7, 2, 3)
        whole, (h_n, c_n) = module(x)
        first, state = module.stream(x[:3])
        second, state = module.stream(x[3:], state)
        assert_close(torch.cat((first, second)), whole, quantity="output")
        assert_close(state.h, h_n, quantity="output")
        assert_close(state.h[-1], second[-1], quantity="exact")
        assert_close(state.c, c_n, quantity="output")
        assert state.memory == (None, None)

    def test_a_restart_inside_a_chunk(self) -> None:
        module, x = with_random_parameters(lstm()), random(6, 2, 3)
        reset = torch.zeros(6, 2, dtype=torch.bool)
        reset[4, 1] = True
        output, _ = module.stream(x, None, reset)
        assert_close(output[:, 0], module(x)[0][:, 0], quantity="output")
        assert_close(output[4:, 1], module(x[4:])[0][:, 1], quantity="output")

    @pytest.mark.parametrize("backend", BACKENDS)
    def test_packed_sequences_equal_each_alone(self, backend: str) -> None:
        module = with_random_parameters(lstm(bidirectional=True, backend=backend))
        cases = [random(length, 3, seed=length) for length in (6, 4, 1)]
        output, (h_n, _) = module(pack_sequence(cases))
        padded, lengths = pad_packed_sequence(output)
        for case, (x, length) in enumerate(zip(cases, lengths.tolist(), strict=True)):
            alone, (h_alone, _) = module(x)
            assert_close(padded[:length, case], alone, quantity="output", backend=backend)
            assert_close(h_n[:, case], h_alone, quantity="output", backend=backend)


def with_unit_rows() -> ATNLSTM:
    """Random parameters, but for rows of length 1."""
    module = with_random_parameters(lstm())
    module.project_rows_()
    return module


def random_loss(module: ATNLSTM, x: torch.Tensor) -> torch.Tensor:
    """A linear loss with random coefficients."""
    output: torch.Tensor = module(x)[0]
    return (output * random(*output.shape, seed=3)).sum()
