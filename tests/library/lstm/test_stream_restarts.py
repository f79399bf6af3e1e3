"""Restarting and reordering the cases of a stream: each case is as if it had been run alone."""

import io
import itertools
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from atn import ATNLSTM, AssortedTimeNorm, LSTMState
from atn.choices import Norm
from tests.support.comparison import assert_close
from tests.support.lstms import DOUBLE, NORMS, random, with_random_parameters


def alone(module: ATNLSTM, x: Tensor, reset: Tensor) -> Tensor:
    """Each case and each piece between restarts by itself, through `forward`; x (T, B, I), reset (T, B)."""
    T, B, _ = x.shape
    columns = []
    for case in range(B):
        starts = [0, *(t for t in range(1, T) if reset[t, case]), T]
        pieces = [module(x[start:end, case : case + 1])[0] for start, end in itertools.pairwise(starts)]
        columns.append(torch.cat(pieces))
    return torch.cat(columns, 1)


def streamed(module: ATNLSTM, x: Tensor, reset: Tensor, lengths: list[int]) -> tuple[Tensor, LSTMState]:
    """In chunks of these lengths, each with its restarts."""
    outputs, state, start = [], None, 0
    for length in [*lengths, x.shape[0]]:
        chunk = slice(start, start + length)
        if x[chunk].shape[0]:
            output, state = module.stream(x[chunk], state, reset[chunk])
            outputs.append(output)
        start += length
    assert state is not None
    return torch.cat(outputs), state


@pytest.mark.usefixtures("auto_backend")
class TestRestarts:
    """`reset` of a chunk, and of a state."""

    @pytest.mark.parametrize(("norm", "k"), NORMS)
    @given(
        T=st.integers(1, 12), B=st.integers(1, 4), lengths=st.lists(st.integers(1, 5), max_size=4),
        share=st.sampled_from([0.0, 0.2, 0.6, 1.0]), seed=st.integers(0, 99),
    )  # fmt: skip
    def test_pieces_are_as_if_run_apart(
        self, norm: Norm, k: int | None, T: int, B: int, lengths: list[int], share: float, seed: int
    ) -> None:
        module = with_random_parameters(ATNLSTM(3, 4, 2, norm=norm, k=k, eps=1e-2, **DOUBLE), seed)
        x = random(T, B, 3, seed=seed).requires_grad_()
        reset = torch.rand(T, B, generator=torch.Generator().manual_seed(seed)) < share
        leaves, upstream = [x, *module.parameters()], random(T, B, 4, seed=seed + 1)
        expected = alone(module, x, reset)
        output, _ = streamed(module, x, reset, lengths)
        assert_close(output, expected, quantity="output", backend="eager")
        gradients = zip(
            torch.autograd.grad(output, leaves, upstream), torch.autograd.grad(expected, leaves, upstream), strict=True
        )
        for actual, wanted in gradients:
            scale = max(float(wanted.abs().max()), 1e-2)  # a shift in front of a norm may vanish by symmetry
            assert_close(actual, wanted, quantity="gradient", backend="eager", scale=scale)

    @pytest.mark.parametrize(("norm", "k"), NORMS)
    def test_a_state_restarts_the_cases_of_a_mask(self, norm: Norm, k: int | None) -> None:
        module = with_random_parameters(ATNLSTM(3, 4, 2, norm=norm, k=k, **DOUBLE))
        x = random(9, 3, 3)
        _, state = module.stream(x[:6])
        after, _ = module.stream(x[6:], state.reset(torch.tensor([False, True, False])))
        untouched, _ = module.stream(x[6:], state)
        assert_close(after[:, [0, 2]], untouched[:, [0, 2]], quantity="output", backend="eager")
        assert_close(after[:, 1:2], module(x[6:, 1:2])[0], quantity="output", backend="eager")
        everything, _ = module.stream(x[6:], state.reset(torch.ones(3).bool()))
        assert_close(everything, module(x[6:])[0], quantity="output", backend="eager")
        nothing = state.reset(torch.zeros(3).bool())
        assert torch.equal(module.stream(x[6:], nothing)[0], untouched)

    @pytest.mark.parametrize(("norm", "lengths"), [("none", (0, 0)), ("atn", (2, 2)), ("atn", [2, 2])])
    def test_equal_lengths_are_one_length(self, norm: Norm, lengths: Any) -> None:
        """As a state has them that was put together by hand."""
        module = with_random_parameters(ATNLSTM(3, 4, norm=norm, k=3 if norm == "atn" else None, **DOUBLE))
        x = random(6, 2, 3)
        state = module.stream(x)[1]
        output, after = module.stream(x, state._replace(lengths=lengths))
        assert torch.equal(output, module.stream(x, state)[0])
        assert after.lengths is None

    def test_the_lengths_of_the_windows_are_those_of_the_cases(self) -> None:
        module = ATNLSTM(3, 4, 2, k=5)
        x = torch.zeros(9, 3, 3)
        _, state = module.stream(x[:2])
        assert state.lengths is None
        state = state.reset(torch.tensor([True, False, True]))
        assert state.lengths == (0, 2, 0)
        seen = []
        for _ in range(4):
            _, state = module.stream(x[:1], state)
            assert state.memory[0] is not None
            seen.append((state.lengths, tuple(state.memory[0].c.var.shape)))
        assert seen == [((1, 3, 1), (3, 3)), ((2, 4, 2), (4, 3)), ((3, 4, 3), (4, 3)), (None, (4, 3))]

    def test_no_gradient_passes_a_restart(self) -> None:
        module = with_random_parameters(ATNLSTM(3, 4, k=4, **DOUBLE))
        x = random(6, 2, 3).requires_grad_()
        reset = torch.zeros(6, 2).bool()
        reset[3, 1] = True
        output, _ = module.stream(x, None, reset)
        (dx,) = torch.autograd.grad(output[3:, 1].sum(), x)
        assert not dx[:3].any()
        assert not dx[:, 0].any()
        assert dx[3:, 1].all()

    def test_what_a_restarted_case_had_does_not_matter(self) -> None:
        module = with_random_parameters(ATNLSTM(3, 4, k=4, **DOUBLE))
        x = random(6, 2, 3)
        x[:3, 0] = float("nan")
        reset = torch.zeros(6, 2).bool()
        reset[3, 0] = True
        output, _ = module.stream(x, None, reset)
        assert_close(output[3:], alone(module, x, reset)[3:], quantity="output", backend="eager")

    @pytest.mark.parametrize("layout", ["batch_first", "no batch"])
    def test_other_layouts(self, layout: str) -> None:
        time_first = with_random_parameters(ATNLSTM(3, 4, 2, k=3, **DOUBLE))
        module = ATNLSTM(3, 4, 2, k=3, batch_first=layout == "batch_first", **DOUBLE)
        module.load_state_dict(time_first.state_dict())
        B = 2 if layout == "batch_first" else 1
        x, reset = random(7, B, 3), torch.rand(7, B, generator=torch.Generator().manual_seed(0)) < 0.4
        expected, state = time_first.stream(x, None, reset)
        given_x, given_reset = (x.transpose(0, 1), reset.T) if layout == "batch_first" else (x[:, 0], reset[:, 0])
        output, other = module.stream(given_x, None, given_reset)
        laid_out = output.transpose(0, 1) if layout == "batch_first" else output.unsqueeze(1)
        assert_close(laid_out, expected, quantity="output", backend="eager")
        mask = torch.ones(B).bool() if layout == "batch_first" else torch.tensor(data=True)
        assert not other.reset(mask).h.any()
        assert other.reset(mask).h.shape == other.h.shape
        assert other.lengths == state.lengths

    @pytest.mark.parametrize(("norm", "k"), NORMS)
    def test_cases_are_picked_and_reordered(self, norm: Norm, k: int | None) -> None:
        module = with_random_parameters(ATNLSTM(3, 4, 2, norm=norm, k=k, **DOUBLE))
        x, reset = random(8, 3, 3), torch.zeros(8, 3).bool()
        reset[4, 1] = True
        order = torch.tensor([2, 0, 1, 1])
        _, state = module.stream(x[:5], None, reset[:5])
        expected = alone(module, x, reset)[5:]
        beams, _ = module.stream(x[5:, order], state.select(order))
        assert_close(beams, expected[:, order], quantity="output", backend="eager")
        only, _ = module.stream(x[5:, 1:2], state.select(torch.tensor([1])))
        assert_close(only, expected[:, 1:2], quantity="output", backend="eager")

    def test_norms_alone_restart_and_reorder(self) -> None:
        norm = AssortedTimeNorm(5, 4, **DOUBLE)
        a, reset = random(9, 3, 5).requires_grad_(), torch.zeros(9, 3).bool()
        reset[3, 0] = reset[5, 2] = reset[0] = True
        starts = [3, 0, 5]
        y, memory = norm.stream(a[:6], None, reset[:6])
        rest, _ = norm.stream(a[6:], memory, reset[6:])
        expected = [norm(a[start:, case : case + 1]) for case, start in enumerate(starts)]
        whole = torch.cat((y, rest))
        for case, start in enumerate(starts):
            assert_close(whole[start:, case : case + 1], expected[case], quantity="output", backend="eager")
        assert memory.lengths == (3, 3, 1)
        order = torch.tensor([2, 0])
        picked, _ = norm.stream(a[6:, order], memory.select(order))
        assert_close(picked, rest[:, order], quantity="output", backend="eager")
        again, _ = norm.stream(a[6:], memory.reset(torch.tensor([False, False, True])))
        assert_close(again[:, 2:], norm(a[6:, 2:]), quantity="output", backend="eager")
        assert_close(again[:, :2], rest[:, :2], quantity="output", backend="eager")


def saved(value: Any) -> tuple[Any, int]:
    """What comes back from a file, as torch reads one by default, and the file's size."""
    file = io.BytesIO()
    torch.save(value, file)
    size = file.tell()
    file.seek(0)
    return torch.load(file), size


def numbers(value: Any) -> int:
    """Bytes of the tensors."""
    leaves = torch.utils._pytree.tree_leaves(value)
    return sum(leaf.numel() * leaf.element_size() for leaf in leaves if isinstance(leaf, Tensor))


@pytest.mark.usefixtures("auto_backend")
class TestSaved:
    """States in files."""

    @pytest.mark.parametrize(("norm", "k"), NORMS)
    def test_a_state_goes_through_a_file(self, norm: Norm, k: int | None) -> None:
        module = with_random_parameters(ATNLSTM(3, 4, 2, norm=norm, k=k, **DOUBLE))
        x = random(9, 2, 3)
        _, state = module.stream(x[:6])
        for kept in (state, state.reset(torch.tensor([True, False]))):
            again, _ = saved(kept)
            assert type(again) is LSTMState
            assert torch.equal(module.stream(x[6:], again)[0], module.stream(x[6:], kept)[0])

    def test_a_memory_goes_through_a_file(self) -> None:
        norm = AssortedTimeNorm(5, 4, **DOUBLE)
        a = random(9, 3, 5)
        _, memory = norm.stream(a[:6])
        again, _ = saved(memory.reset(torch.tensor([True, False, False])))
        assert torch.equal(
            norm.stream(a[6:], again)[0], norm.stream(a[6:], memory.reset(torch.tensor([1, 0, 0]).bool()))[0]
        )

    def test_files_hold_what_the_state_holds(self) -> None:
        """A state of a long chunk, and part of a batch, are as small as they look."""
        module = ATNLSTM(3, 4, k=3)
        _, state = module.stream(torch.zeros(1000, 50, 3))
        _, memory = AssortedTimeNorm(3, 3).stream(torch.zeros(1000, 50, 3))
        overhead = 12000  # names, sizes and checksums of up to 8 tensors
        for kept in (state, state.detach(), state.select(torch.arange(2)), memory, memory.select(torch.arange(2))):
            _, size = saved(kept)
            assert size < numbers(kept) + overhead
        left_out = 1000 * 50 * torch.float32.itemsize
        assert left_out > 10 * overhead


class TestHooks:
    """`stream` runs the hooks of the module, so that weights they compute are fresh."""

    def changed(self, module: ATNLSTM, name: str) -> tuple[Tensor, Tensor]:
        """Output of a stream before and after the tensor behind the recurrent weight changes, and of `forward`."""
        x = random(5, 2, 3)
        before, _ = module.stream(x)
        with torch.no_grad():
            module.get_parameter(name).mul_(random(16, 4, seed=4))
        after, _ = module.stream(x)
        assert (after - before).abs().max() > 1e-3
        return after, module(x)[0]

    def test_weight_norm(self) -> None:
        module = with_random_parameters(ATNLSTM(3, 4, k=3, **DOUBLE))
        with pytest.warns(FutureWarning, match="weight_norm"):
            nn.utils.weight_norm(module, "weight_hh_l0")
        assert torch.equal(*self.changed(module, "weight_hh_l0_v"))

    def test_pruning(self) -> None:
        module = with_random_parameters(ATNLSTM(3, 4, k=3, **DOUBLE))
        prune.random_unstructured(module, "weight_hh_l0", amount=0.3)  # type: ignore[no-untyped-call]  # torch's own
        assert torch.equal(*self.changed(module, "weight_hh_l0_orig"))

    def test_spectral_norm(self) -> None:
        module = with_random_parameters(ATNLSTM(3, 4, norm="none", **DOUBLE))
        nn.utils.spectral_norm(module, "weight_hh_l0")
        module.eval()
        assert torch.equal(*self.changed(module, "weight_hh_l0_orig"))

    def test_parametrized_weight_norm(self) -> None:
        module = with_random_parameters(ATNLSTM(3, 4, k=3, **DOUBLE))
        parametrizations.weight_norm(module, "weight_hh_l0")
        assert torch.equal(*self.changed(module, "parametrizations.weight_hh_l0.original1"))

    def test_hooks_see_input_and_output(self) -> None:
        module, x, seen = ATNLSTM(3, 4, k=3), torch.zeros(5, 2, 3), []
        module.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        module.register_forward_hook(lambda _, __, result: seen.append(result))
        output, state = module.stream(x)
        assert seen[0] is x
        assert seen[1][0] is output
        assert seen[1][1] is state
