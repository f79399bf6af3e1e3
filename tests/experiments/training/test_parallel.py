"""Two processes that train one model do what one process does on the whole batch, and end together.

As a program, ``python -m tests.experiments.training.test_parallel FOLDER``, this module makes the pairs of processes,
all of them copies of one that has imported PyTorch; under torchrun it makes a whole run.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from experiments.catalog.registry import TASKS
from experiments.cli.main import main
from experiments.common.errors import UsageError
from experiments.models.recurrent_layer import Recurrence
from experiments.models.sequence_model import SequenceModel
from experiments.related.hippo import zero_share
from experiments.tasks.copying import Copying
from experiments.training import distributed
from experiments.training.checkpoint import NEWEST, NO_TIME, capture, restore
from experiments.training.data_parallel import shared_loss
from experiments.training.problem import Problem
from experiments.training.records.metrics import METRICS, VALIDATION, read_metrics
from experiments.training.records.record import Record, load_record
from tests.support.tiny_run import STEPS, tiny_run

PROCESSES = 2
STOPPED = 7
CPU = torch.device("cpu")
NO_BATCH = {zero_share.NAME}
"""Tasks that train nothing: each process draws the whole data set of a step, and measures the same."""
OWN_DATA = [
    task.name for task in TASKS.values() if not task.reads_data and task.plan is None and task.name not in NO_BATCH
]


class Joint(Problem):
    """A small network in float64, whose loss is a mean over the batch."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.device = CPU
        network = SequenceModel(Recurrence("atn", 3, 1e-5, "inside", "torch"), 5, 7, 3)
        self.model = network.double()
        self.optimizer = torch.optim.RMSprop(self.model.parameters())

    def loss(self, step: int) -> Tensor:
        draw = np.random.default_rng([0, step]).standard_normal
        x, y = torch.from_numpy(draw((6, 8, 5))), torch.from_numpy(draw((6, 8, 3)))
        difference: Tensor = self.model(self.share(x, 1)) - self.share(y, 1)
        return difference.square().mean()

    def validation(self, step: int) -> dict[str, Tensor]:
        return {VALIDATION: self.loss(step)}

    def gradients(self) -> dict[str, Tensor]:
        """Gradients by the names of their parameters."""
        return {name: value.grad for name, value in self.model.named_parameters() if value.grad is not None}


def threads() -> list[str]:
    """Names of this process's threads; Linux alone tells them."""
    return [name.read_text().strip() for name in Path("/proc/self/task").glob("*/comm")]


def speak(folder: Path) -> int:
    """Use everything that processes say to each other, and leave what they heard."""
    with distributed.joined(CPU):
        problem = Joint()
        distributed.scatter_randomness(3)
        loss = shared_loss(problem)  # which has to live until the gradients are there
        torch.autograd.backward(loss(1))
        saved = capture(1, NO_TIME, problem)
        after = torch.rand(4)
        restore(saved, problem)
        whole = torch.arange(12.0).reshape(3, 4)
        heard = {
            "again": torch.rand(4),
            "after": after,
            "states": torch.stack([saved.tensors["random.cpu"], saved.tensors["random.cpu.1"]]),
            "share": distributed.share(whole, 1).contiguous(),
            "whole": distributed.gather(distributed.share(whole, 1), 1),
            "mean": distributed.mean(torch.tensor([float(distributed.rank()), 5.0])),
            "flags": torch.tensor(distributed.any_of(distributed.rank() == 1, False)),  # noqa: FBT003 - flags are bare
            **problem.gradients(),
        }
        (folder / f"texts{distributed.rank()}").write_text(json.dumps(distributed.texts(f"ä{distributed.rank()}")))
        (folder / f"threads{distributed.rank()}").write_text(json.dumps(threads()))
    save_file(heard, folder / f"heard{distributed.rank()}")
    return 0


def finish(folder: Path) -> int:
    """A whole run; then the threads that are left."""
    status = main(tiny_run(folder / "two"))
    (folder / f"threads_left{distributed.rank()}").write_text(json.dumps(threads()))
    return status


def spoil(folder: Path) -> int:
    """A run whose loss becomes infinite."""
    return main(tiny_run(folder / "spoiled", lr=1e38))


def stop(folder: Path) -> int:
    """A run that the second process, and it alone, is told to end."""
    return stopped(folder / "stopped")


def leave(folder: Path) -> int:
    """Another such run, which a single process is to go on with."""
    return stopped(folder / "left")


def stopped(runs: Path) -> int:
    """Make the run that is told to end."""
    loss = Copying.loss

    def recorded(self: Copying, step: int) -> Tensor:
        if step == STOPPED and not distributed.is_main_process():
            signal.raise_signal(signal.SIGTERM)
        return loss(self, step)

    Copying.loss = recorded  # type: ignore[method-assign,assignment] # in a process of its own
    return main(tiny_run(runs))


def resume(folder: Path) -> int:
    """The run that was ended."""
    return main(tiny_run(folder / "stopped"))


def share_unequally(folder: Path) -> int:
    """A batch of 3 for 2."""
    return main(tiny_run(folder / "unequal", batch=3))


SCENES: list[Callable[[Path], int]] = [speak, finish, spoil, stop, resume, leave, share_unequally]


def play(scene: Callable[[Path], int], folder: Path) -> list[int]:
    """Exit statuses of the processes that play the scene together, as torchrun would have started them."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(PROCESSES):
        child = os.fork()
        if child == 0:
            os.environ |= {
                "TORCHELASTIC_RUN_ID": "test",
                "MASTER_ADDR": "localhost",
                "MASTER_PORT": str(port),
                "WORLD_SIZE": str(PROCESSES),
                "RANK": str(rank),
            }
            status = 70
            try:
                status = scene(folder)
            except Exception:  # noqa: BLE001 - told here, since the process ends without another word
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of what all scenes left, and of ``statuses.json``, ``said.out`` and ``said.err``."""
    folder = tmp_path_factory.mktemp("played")
    program = [sys.executable, "-m", "tests.experiments.training.test_parallel", str(folder)]
    ended = run(program)
    assert ended.returncode == 0, ended.stderr
    (folder / "said.out").write_text(ended.stdout)
    (folder / "said.err").write_text(ended.stderr)
    return folder


def run(program: list[str]) -> "subprocess.CompletedProcess[str]":
    """Run a program in the checkout, with one thread."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(  # noqa: S603 - this very module, and torchrun
        program,
        cwd=Path(__file__).parents[3],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=150,
    )


def statuses(played: Path) -> dict[str, list[int]]:
    """Exit statuses by scene."""
    found: dict[str, list[int]] = json.loads((played / "statuses.json").read_text())
    return found


def only_record(runs: Path) -> Record:
    """Record of the one run there is."""
    (folder,) = runs.iterdir()
    record = load_record(folder)
    assert record is not None
    return record


def losses(runs: Path) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Training and validation losses of the one run there is."""
    (folder,) = runs.iterdir()
    rows = read_metrics(folder / METRICS, STEPS)
    return np.array([value for row in rows for value in (row.train, *row.measured.values())])


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs folder of the run of one process."""
    runs = tmp_path_factory.mktemp("alone")
    assert main(tiny_run(runs)) == 0
    return runs


def test_gradients_of_two_are_those_of_one_on_the_whole_batch(played: Path) -> None:
    assert statuses(played)["speak"] == [0, 0]
    first, second = (load_file(played / f"heard{rank}") for rank in range(PROCESSES))
    problem = Joint()
    torch.autograd.backward(problem.loss(1))
    expected = problem.gradients()
    assert len(expected) >= 6
    for name, value in expected.items():
        # Two halves are summed in another order; float64 has an epsilon of 2e-16, and a sum here has 48 terms.
        torch.testing.assert_close(first[name], value, rtol=1e-12, atol=1e-15)
        assert torch.equal(first[name], second[name])


@pytest.mark.parametrize("name", OWN_DATA)
def test_shares_of_a_task_make_up_the_whole_batch(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task = TASKS[name]
    settings = task.presets["smoke"].completed()

    def gradients(rank: int, count: int) -> list[Tensor]:
        monkeypatch.setattr(distributed, "rank", lambda: rank)
        monkeypatch.setattr(distributed, "count", lambda: count)
        problem = task.problem(settings, "atn", CPU)
        torch.autograd.backward(problem.loss(1))
        return [value.grad for value in problem.model.parameters() if value.grad is not None]

    shares = zip(gradients(0, 2), gradients(1, 2), strict=True)
    for (left, right), whole in zip(shares, gradients(0, 1), strict=True):
        assert not torch.equal(left, right)
        # float32: a few hundred roundings of numbers as large as the largest gradient.
        torch.testing.assert_close((left + right) / 2, whole, rtol=0, atol=1e-5 * float(whole.abs().max()) + 1e-9)


def test_processes_hear_each_other(played: Path) -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    for rank in range(PROCESSES):
        heard = load_file(played / f"heard{rank}")
        assert torch.equal(heard["share"], whole[:, 2 * rank : 2 * rank + 2])
        assert torch.equal(heard["whole"], whole)
        assert heard["mean"].tolist() == [0.5, 5.0]
        assert heard["flags"].tolist() == [True, False]
        assert json.loads((played / f"texts{rank}").read_text()) == ["ä0", "ä1"]


def test_each_process_has_a_random_stream_of_its_own_which_a_checkpoint_keeps(played: Path) -> None:
    first, second = (load_file(played / f"heard{rank}") for rank in range(PROCESSES))
    assert not torch.equal(first["after"], second["after"])
    for heard in (first, second):
        assert torch.equal(heard["again"], heard["after"])
        assert torch.equal(heard["states"], first["states"])
    assert not torch.equal(*first["states"])


def test_a_run_of_two_ends_with_the_numbers_of_a_run_of_one(played: Path, alone: Path) -> None:
    assert statuses(played)["finish"] == [0, 0]
    # float32 has an epsilon of 1e-7; RMSProp carries it from step to step.
    np.testing.assert_allclose(losses(played / "two"), losses(alone), rtol=1e-5)
    (ours,), (theirs,) = (list(runs.iterdir()) for runs in (played / "two", alone))
    left, right = load_file(ours / NEWEST), load_file(theirs / NEWEST)
    assert left.keys() == {*right.keys(), "random.cpu.1"}
    assert not torch.equal(left["random.cpu"], left["random.cpu.1"])
    record = only_record(played / "two")
    (session,) = record.sessions
    assert (record.status, session.processes) == ("finished", PROCESSES)
    assert session.device.startswith("2 x cpu: ")
    assert session.command.startswith("torchrun --nproc-per-node 2 -m experiments copying ")
    assert only_record(alone).sessions[0].processes == 1


def test_only_one_of_them_speaks_to_the_user(played: Path) -> None:
    out, err = ((played / f"said.{name}").read_text().splitlines() for name in ("out", "err"))
    assert len([line for line in out if f"finished, {STEPS} steps" in line and "/two/" in line]) == 1
    assert len([line for line in err if f"step {STEPS}/{STEPS}" in line]) == 2  # of `finish` and of `resume`
    assert err.count("experiments: batch is 3; it must be a multiple of 2, the number of processes that share it") == 1


def test_all_end_where_one_is_told_to_and_any_number_goes_on(
    played: Path, alone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert statuses(played)["stop"] == statuses(played)["leave"] == [130, 130]
    assert statuses(played)["resume"] == [0, 0]
    record = only_record(played / "stopped")
    assert [(session.after_step, session.processes) for session in record.sessions] == [(0, 2), (STOPPED, 2)]
    np.testing.assert_array_equal(losses(played / "stopped"), losses(played / "two"))
    assert only_record(played / "left").step == STOPPED
    assert main(tiny_run(played / "left")) == 0
    assert "the run began with processes 2 and goes on with 1" in capsys.readouterr().err
    record = only_record(played / "left")
    assert [(session.after_step, session.processes) for session in record.sessions] == [(0, 2), (STOPPED, 1)]
    np.testing.assert_allclose(losses(played / "left"), losses(alone), rtol=1e-5)


def test_all_end_at_a_loss_that_is_not_finite(played: Path) -> None:
    assert statuses(played)["spoil"] == [1, 1]
    assert only_record(played / "spoiled").status == "nan"


def test_a_batch_that_cannot_be_shared_equally(played: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert statuses(played)["share_unequally"] == [2, 2]
    monkeypatch.setattr(distributed, "count", lambda: 3)
    with pytest.raises(UsageError, match=r"batch is 4; it must be a multiple of 3"):
        distributed.share(torch.zeros(6, 4), 1)


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of what a whole run by torchrun left."""
    folder = tmp_path_factory.mktemp("launched")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(PROCESSES)]
    ended = run([*torchrun, "-m", "tests.experiments.training.test_parallel", str(folder)])
    assert ended.returncode == 0, ended.stderr
    return folder


def test_torchrun_makes_a_whole_run(launched: Path, alone: Path) -> None:
    np.testing.assert_allclose(losses(launched / "two"), losses(alone), rtol=1e-5)
    assert only_record(launched / "two").sessions[0].processes == PROCESSES


@pytest.mark.skipif(sys.platform != "linux", reason="threads are found by their names in /proc")
def test_no_thread_of_the_connections_outlives_them(launched: Path, played: Path) -> None:
    for rank in range(PROCESSES):
        assert "pt_gloo_runloop" in json.loads((played / f"threads{rank}").read_text())
        left = json.loads((launched / f"threads_left{rank}").read_text())
        assert not [name for name in left if "gloo" in name]


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The second of two processes of a machine."""
    for name, value in {"TORCHELASTIC_RUN_ID": "test", "WORLD_SIZE": "2", "RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    return iter(())


@pytest.mark.usefixtures("several")
def test_each_process_takes_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert distributed.own_device(torch.device("cuda")) == torch.device("cuda:1")
    assert distributed.own_device(CPU) == CPU
    with pytest.raises(UsageError, match=r"--device cuda:0: 2 processes here need --device cuda and a GPU each, of 2"):
        distributed.own_device(torch.device("cuda:0"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UsageError, match=r"a GPU each, of 1"):
        distributed.own_device(torch.device("cuda"))


if __name__ == "__main__":
    where = Path(sys.argv[1])
    if distributed.count() == PROCESSES:
        sys.exit(finish(where))
    torch.set_num_threads(1)
    # The first optimizer of a process makes PyTorch import its compiler; here it does so once for all scenes.
    torch.optim.RMSprop([torch.zeros(1)])
    (where / "statuses.json").write_text(json.dumps({scene.__name__: play(scene, where) for scene in SCENES}))
