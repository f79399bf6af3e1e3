"""Population statistics of `AssortedTimeNorm(base="batch")`: the oracle's numbers, the manners of `BatchNorm1d`."""

import copy
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim import swa_utils

from atn import ATNLSTM, AssortedTimeNorm
from atn.population import PopulationStatistics
from tests.support.comparison import assert_close
from tests.support.norms import in_chunks, module, sequence


def batch_norm(k: int, max_steps: int = 30, dtype: torch.dtype = torch.float64) -> AssortedTimeNorm:
    """Norm of 5 features over the batch."""
    return module(k, "batch", dtype, max_steps)


def population(norm: nn.Module) -> PopulationStatistics:
    """Its statistics."""
    assert isinstance(norm.population, PopulationStatistics)
    return norm.population


def window_statistics(a: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of every window over the batch, (T, N), as Eqs. (7)-(8) are written."""
    pairs = [torch.var_mean(a[max(0, t - k + 1) : t + 1], (0, 1), correction=0) for t in range(len(a))]
    return torch.stack([mean for _, mean in pairs]), torch.stack([var for var, _ in pairs])


@pytest.mark.usefixtures("auto_backend")
class TestNumbers:
    """What is averaged, and what evaluation takes."""

    def test_the_first_batch_starts_the_averages_and_later_ones_move_them(self) -> None:
        norm, first, second = batch_norm(3, max_steps=7), sequence(6, 4, 5, 0), sequence(4, 7, 5, 1)
        norm(first)
        norm(second)
        expected = []
        for old, new in zip(window_statistics(first, 3), window_statistics(second, 3), strict=True):
            expected.append(torch.cat((0.9 * old[:4] + 0.1 * new, old[4:])))
        running = population(norm)
        assert_close(running.running_mean[:6], expected[0], quantity="output", backend="eager")
        assert_close(running.running_var[:6], expected[1], quantity="output", backend="eager")
        assert not running.running_mean[6:].any()
        assert running.running_var[6:].eq(1).all()
        assert running.num_batches_tracked.tolist() == [2, 2, 2, 2, 1, 1, 0]

    def test_the_plain_average_weighs_every_batch_alike(self) -> None:
        norm = AssortedTimeNorm(5, 3, base="batch", max_steps=4, momentum=None, dtype=torch.float64)
        batches = [sequence(4, 3, 5, seed) for seed in range(5)]
        for a in batches:
            norm(a)
        for running, index in ((population(norm).running_mean, 0), (population(norm).running_var, 1)):
            expected = torch.stack([window_statistics(a, 3)[index] for a in batches]).mean(0)
            assert_close(running, expected, quantity="output", backend="eager")

    def test_evaluation_uses_each_steps_own_average_and_the_last_beyond(self) -> None:
        norm, a = batch_norm(3), sequence(5, 2, 5, 3)
        norm(sequence(3, 4, 5))
        norm.eval()
        steps = [0, 1, 2, 2, 2]
        running = population(norm)
        mean, var = running.running_mean[steps].unsqueeze(1), running.running_var[steps].unsqueeze(1)
        expected = norm.weight * (a - mean) / torch.sqrt(var + 1e-5) + norm.bias
        before = copy.deepcopy(norm.state_dict())
        assert_close(norm(a), expected, quantity="output", backend="eager")
        assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())

    def test_a_step_that_none_has_reached_takes_the_one_before_it_or_the_first(self) -> None:
        """The first two steps of the stream are not trained, and of the next four only the outer ones are."""
        norm, a = batch_norm(1, max_steps=7), sequence(6, 4, 5)
        norm.eval()
        _, memory = norm.stream(a[:2])
        norm.train()
        norm.stream(a[2:6], memory)
        norm.eval()
        running = population(norm)
        running.num_batches_tracked[3:5] = 0
        assert running.num_batches_tracked.tolist() == [0, 0, 1, 0, 0, 1, 0]
        rows = [2, 2, 2, 2, 2, 5, 5, 5]
        taken = running.at(0, 8, torch.float64)
        assert torch.equal(taken.mean, running.running_mean[rows])
        assert torch.equal(taken.var, running.running_var[rows])

    def test_statistics_without_counts_are_taken_as_they_are(self) -> None:
        """As copying the floating-point tensors of a module leaves them."""
        norm, copied = batch_norm(1, max_steps=6), batch_norm(1, max_steps=6)
        a = sequence(6, 4, 5)
        norm(a)
        running = {name: value for name, value in norm.state_dict().items() if value.is_floating_point()}
        copied.load_state_dict(running, strict=False)
        assert not population(copied).num_batches_tracked.any()
        assert torch.equal(copied.eval()(a), norm.eval()(a))

    def test_a_momentum_of_1_takes_the_last_batch_alone(self) -> None:
        """Also after one whose statistics are larger than the last digit of the new ones, or infinite."""
        norm = module(1, "batch", torch.float32, 6)
        a = sequence(6, 4, 5).float()
        population(norm).momentum = 1.0
        norm(a)
        expected = copy.deepcopy(population(norm).state_dict())
        for scale in (1e12, 1e25):
            norm(scale * a)
            norm(a)
            for name in ("running_mean", "running_var"):
                assert torch.equal(population(norm).state_dict()[name], expected[name])

    def test_an_infinite_variance_stays_infinite(self) -> None:
        norm, a = module(1, "batch", torch.float32, 6), sequence(6, 4, 5).float()
        norm(1e25 * a)
        norm(a)
        assert (population(norm).running_var == torch.inf).all()

    def test_steps_beyond_the_last_are_normalized_and_left_out_of_the_averages(self) -> None:
        short, long, a = batch_norm(3, max_steps=4), batch_norm(3), sequence(9, 4, 5)
        assert torch.equal(short(a), long(a))
        assert torch.equal(population(short).running_mean, population(long).running_mean[:4])
        assert torch.equal(short.eval()(a)[:4], long.eval()(a)[:4])
        one_by_one = in_chunks(batch_norm(3, max_steps=4), a, [1] * 9)
        assert torch.equal(one_by_one, long.train()(a))

    def test_a_case_does_not_see_the_others_in_evaluation(self) -> None:
        norm, a = batch_norm(3), sequence(5, 4, 5)
        norm(a)
        norm.eval()
        assert torch.equal(norm(a)[:, 1:2], norm(a[:, 1:2]))

    @given(lengths=st.lists(st.integers(1, 4), max_size=5))
    def test_streams_train_and_evaluate_as_the_whole(self, lengths: list[int]) -> None:
        whole, streamed, a = batch_norm(3), batch_norm(3), sequence(9, 4, 5)
        whole(a)
        in_chunks(streamed, a, lengths)
        for name, value in whole.state_dict().items():
            assert torch.equal(streamed.state_dict()[name], value), name
        assert torch.equal(in_chunks(streamed.eval(), a, lengths), whole.eval()(a))

    def test_the_memory_after_evaluation_is_that_of_training(self) -> None:
        norm, a = batch_norm(4), sequence(7, 3, 5)
        _, trained = norm.stream(a)
        _, evaluated = norm.eval().stream(a)
        for actual, expected in zip(evaluated.steps, trained.steps, strict=True):
            assert_close(actual, expected, quantity="output", backend="eager")
        assert evaluated.position == trained.position == 7

    def test_statistics_carry_no_gradient(self) -> None:
        norm = batch_norm(3)
        norm(sequence(5, 2, 5).requires_grad_())
        assert not population(norm).running_mean.requires_grad
        assert not population(norm).running_var.requires_grad


def torch_norm(**settings: Any) -> nn.BatchNorm1d:
    """The batch norm that stands beside ours."""
    return nn.BatchNorm1d(5, dtype=torch.float64, **settings)


def steps(max_steps: int = 1) -> AssortedTimeNorm:
    """Ours with k = 1: at the first step it is that batch norm."""
    return AssortedTimeNorm(5, 1, base="batch", max_steps=max_steps, dtype=torch.float64)


def buffers(norm: nn.Module) -> dict[str, Tensor]:
    """Copies of the buffers."""
    return {name: buffer.clone() for name, buffer in norm.named_buffers()}


def assert_unchanged(norm: nn.Module, before: dict[str, Tensor]) -> None:
    """The buffers are those of before."""
    assert all(torch.equal(buffer, before[name]) for name, buffer in norm.named_buffers())


@pytest.mark.usefixtures("auto_backend")
class TestAsBatchNorm1d:
    """What users of `BatchNorm1d` do to one gives the same here."""

    def test_evaluation_before_training_is_by_mean_0_and_variance_1(self) -> None:
        a = sequence(3, 4, 5)
        expected = torch.stack([torch_norm().eval()(step) for step in a])
        assert_close(steps(9).eval()(a), expected, quantity="output", backend="eager")

    def test_momentum(self) -> None:
        """After the first batch, which theirs mixes with its start and ours does not."""
        a = sequence(1, 4, 5, 1)
        for momentum in (0.1, 0.0, 1.0, None):
            ours, theirs = steps(), torch_norm(momentum=momentum)
            ours(sequence(1, 4, 5))
            population(ours).momentum = momentum
            theirs.load_state_dict({k: v[0] for k, v in population(ours).state_dict().items()}, strict=False)
            ours(a)
            theirs(a[0])
            assert_close(population(ours).running_mean[0], theirs.running_mean, quantity="output", backend="eager")
            assert population(ours).num_batches_tracked[0] == theirs.num_batches_tracked

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
    def test_dtypes_of_the_buffers(self, dtype: torch.dtype) -> None:
        made = AssortedTimeNorm(5, 2, base="batch", max_steps=3, dtype=dtype)
        moved = AssortedTimeNorm(5, 2, base="batch", max_steps=3).to(dtype)
        theirs = nn.BatchNorm1d(5, dtype=dtype)
        for ours in (made, moved):
            ours(sequence(3, 4, 5, dtype=dtype))
            dtypes = {name: buffer.dtype for name, buffer in population(ours).named_buffers()}
            assert dtypes == {name: buffer.dtype for name, buffer in theirs.named_buffers()}

    @pytest.mark.parametrize("max_steps", [2, 9])
    def test_a_refused_state_dict_spoils_nothing(self, max_steps: int) -> None:
        ours, other = batch_norm(3, max_steps=5), batch_norm(3, max_steps=max_steps)
        ours(sequence(5, 3, 5))
        other(sequence(5, 3, 5, 1))
        before = buffers(ours)
        with pytest.raises(RuntimeError, match=r"size mismatch for population.running_mean"):
            ours.load_state_dict(other.state_dict())
        assert_unchanged(ours, before)

    def test_a_state_dict_from_before_max_steps_is_refused(self) -> None:
        ours = batch_norm(3, max_steps=5)
        ours(sequence(5, 3, 5))
        before = buffers(ours)
        old = {name.removeprefix("population."): value for name, value in ours.state_dict().items()}
        with pytest.raises(RuntimeError, match=r'Missing key.*"population.running_mean"'):
            ours.load_state_dict(old)
        assert_unchanged(ours, before)

    def test_a_norm_inside_another_module_loads_its_state(self) -> None:
        saved, other = (nn.Sequential(nn.Linear(5, 5, dtype=torch.float64), batch_norm(3)) for _ in range(2))
        a = sequence(6, 3, 5)
        saved(a)
        other.load_state_dict(saved.state_dict())
        assert torch.equal(other.eval()(a), saved.eval()(a))
        assert other.state_dict().keys() == saved.state_dict().keys()

    def test_functional_calls_update_the_buffers_that_they_are_given(self) -> None:
        ours, theirs = steps(), torch_norm()
        given: list[dict[str, Tensor]] = []
        for norm, a in ((ours, sequence(1, 4, 5)), (theirs, sequence(1, 4, 5)[0])):
            before = buffers(norm)
            parameters: dict[str, Tensor] = dict(norm.named_parameters())
            passed = buffers(norm)
            for _ in range(20):
                torch.func.functional_call(norm, {**parameters, **passed}, (a + 100,))
            assert_unchanged(norm, before)
            given.append(passed)
            torch.func.functional_call(norm, parameters, (a + 100,))
            assert not torch.equal(dict(norm.named_buffers())[next(iter(passed))], next(iter(before.values())))
        assert given[0]["population.num_batches_tracked"].tolist() == [20]
        # Theirs is on its way from its start, 0, where the weight of the first batch has fallen to 0.9 ** 20.
        expected = given[1]["running_mean"] / (1 - 0.9**20)
        assert_close(given[0]["population.running_mean"][0], expected, quantity="output", backend="eager")

    def test_update_bn_averages_over_all_batches(self) -> None:
        ours, theirs = steps().eval(), torch_norm().eval()
        ours.train()(sequence(1, 4, 5, 99))
        batches = [sequence(1, 4, 5, seed) for seed in range(6)]
        swa_utils.update_bn(batches, ours.eval())
        swa_utils.update_bn([a[0] for a in batches], theirs)
        running = population(ours)
        assert_close(running.running_mean[0], theirs.running_mean, quantity="output", backend="eager")
        assert theirs.running_var is not None
        assert_close(running.running_var[0], theirs.running_var * 3 / 4, quantity="output", backend="eager")
        assert running.num_batches_tracked.tolist() == [6]
        assert running.momentum == 0.1
        assert not ours.training

    @pytest.mark.parametrize("use_buffers", [False, True])
    def test_averaged_models(self, use_buffers: bool) -> None:  # noqa: FBT001 - parametrized
        ours, theirs = steps(3), torch_norm()
        results = []
        for norm, lengths in ((ours, (1, 3)), (theirs, (1, 1))):
            average = swa_utils.AveragedModel(norm, use_buffers=use_buffers)
            for seed, length in enumerate(lengths):
                a = sequence(length, 4, 5, seed)
                norm(a if norm is ours else a[0])
                average.update_parameters(norm)
            results.append(buffers(average.module))
        actual, expected = results
        assert actual["population.num_batches_tracked"][0] == expected["num_batches_tracked"]
        if not use_buffers:
            assert torch.equal(actual["population.running_mean"], population(ours).running_mean)

    def test_freezing_every_batch_norm_of_a_model_freezes_it(self) -> None:
        model, a = nn.Sequential(batch_norm(3)), sequence(5, 3, 5)
        model(a)
        evaluated = copy.deepcopy(model).eval()(a)
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm1d):
                layer.eval()
        before = buffers(model)
        assert torch.equal(model(a), evaluated)
        assert_unchanged(model, before)

    def test_switches_between_training_and_evaluation(self) -> None:
        norm, a = batch_norm(3), sequence(5, 3, 5)
        norm(sequence(5, 3, 5, 1))
        trained = norm(a)
        evaluated = norm.eval()(a)
        assert not torch.equal(trained, evaluated)
        assert torch.equal(norm.train()(a), trained)

    def test_to_empty_and_reset_parameters_start_anew(self) -> None:
        norm = AssortedTimeNorm(5, 2, base="batch", max_steps=3, device="meta").to_empty(device="cpu")
        for tensor in (*norm.parameters(), *norm.buffers()):
            tensor.detach().fill_(7)
        norm.reset_parameters()
        for name, value in AssortedTimeNorm(5, 2, base="batch", max_steps=3).state_dict().items():
            assert torch.equal(norm.state_dict()[name], value), name

    def test_one_value_for_each_statistic_is_refused_in_training_alone(self) -> None:
        ours = steps()
        before = buffers(ours)
        for norm, a in ((ours, sequence(1, 1, 5)), (torch_norm(), sequence(1, 1, 5)[0])):
            with pytest.raises(ValueError, match=r"in training|when training"):
                norm(a)
            assert norm.eval()(a).isfinite().all()
        assert_unchanged(ours, before)
        assert batch_norm(2)(sequence(3, 1, 5)).isfinite().all()


PROGRAM = """
import sys, torch, torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from tests.library.norm.test_population import SHARED, output_of, share

folder, rank = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
for kind, make in SHARED.items():
    for broadcast in (True, False):
        module = make()
        model = DistributedDataParallel(module, broadcast_buffers=broadcast)
        for step in range(3):
            output_of(model, share(rank, step)).sum().backward()
        torch.save(module.state_dict(), f"{folder}/{kind}{broadcast}{rank}")
dist.destroy_process_group()
"""


def lstm_with_batch_statistics() -> ATNLSTM:
    """An LSTM of recurrent batch normalization, which starts alike in every process."""
    torch.manual_seed(0)
    return ATNLSTM(5, 3, norm="bn", max_steps=6)


SHARED: dict[str, Callable[[], nn.Module]] = {
    "norm": lambda: AssortedTimeNorm(5, 3, base="batch", max_steps=6),
    "lstm": lstm_with_batch_statistics,
}
"""The modules that two processes train."""


def share(rank: int, step: int) -> Tensor:
    """A process's share of a batch: T = 3 on rank 0 and 5 on rank 1."""
    return torch.randn((3, 5)[rank], 4, 5, generator=torch.Generator().manual_seed(10 * step + rank))


def output_of(module: nn.Module, x: Tensor) -> Tensor:
    """What a norm gives, and the first of what a layer gives."""
    found: Any = module(x)
    output: Tensor = found if isinstance(found, Tensor) else found[0]
    return output


def test_processes_with_other_numbers_of_steps(tmp_path: Path) -> None:
    """Each step's statistics, of a norm and of every site of a layer, are what `BatchNorm1d` would have."""
    # Two processes of one machine meet in a file: no port is taken.
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo"}
    # Started apart: a copy of a process that has loaded PyTorch may wait for a thread that was not copied.
    processes = [
        subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path), str(rank)], env=environment)  # noqa: S603 - our own program
        for rank in range(2)
    ]
    assert [process.wait(timeout=300) for process in processes] == [0, 0]

    def alone(kind: str, rank: int, start: dict[int, dict[str, Tensor]]) -> list[dict[str, Tensor]]:
        """State after each batch of a process; `start` replaces it before some."""
        module, after = SHARED[kind](), []
        for step in range(3):
            module.load_state_dict(start.get(step, module.state_dict()))
            output_of(module, share(rank, step))
            after.append(copy.deepcopy(module.state_dict()))
        return after

    for kind, sites in (("norm", 1), ("lstm", 3)):
        first = alone(kind, 0, {})
        sent = dict(enumerate(first, start=1))
        expected = {"True0": first, "False0": first, "True1": alone(kind, 1, sent), "False1": alone(kind, 1, {})}
        for name, states in expected.items():
            found = torch.load(tmp_path / f"{kind}{name}")
            for key, value in states[-1].items():
                assert torch.equal(found[key], value), (kind, name, key)
        counts = [value.tolist() for key, value in found.items() if key.endswith("num_batches_tracked")]
        assert counts == [[3, 3, 3, 3, 3, 0]] * sites
