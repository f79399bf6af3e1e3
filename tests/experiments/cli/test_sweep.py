"""A sweep runs what has not finished, through submitit, and lists what did not go well with the command for it."""

import pickletools
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from experiments import stamp
from experiments.catalog.registry import TASKS
from experiments.cli import command as task_command
from experiments.cli import jobs, sweep
from experiments.cli.jobs import Resources, make_executor, run_jobs
from experiments.cli.main import main
from experiments.training.records.record import load_record
from tests.support import slurm_cluster

SIZE = ["T=2", "batch=4", "hidden=6", "k=3", "steps=12", "validate_every=5"]


def command(runs: Path, *more: str, models: Sequence[str] = ("lstm",), executor: str = "local") -> list[str]:
    """A sweep of tiny runs, by default on this machine; the first of `more` are settings, the next options."""
    options = ["--presets", "smoke", "--executor", executor, "--runs", str(runs), "--models", *models]
    return ["sweep", "copying", *options, "--unverified", "--set", *SIZE, *more]


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Runs jobs inside this process; the list has the names of those that ran."""
    ran: list[str] = []

    def run(_executor: object, commands: Mapping[str, list[str]], _cpus: int, _at_once: int) -> Any:
        for name, words in commands.items():
            assert words[:3] == [sys.executable, "-m", "experiments"]
            ran.append(name)
            main(words[3:])
            yield jobs.Ended(name, Path("log"))

    monkeypatch.setattr(sweep, "run_jobs", run)
    return ran


def names(runs: Path) -> list[str]:
    """Folders of runs."""
    return sorted(folder.name for folder in runs.iterdir() if not folder.name.startswith("."))


def test_a_sweep_on_this_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Jobs are real processes here; one of the two runs ends at a loss that is not finite."""
    arguments = command(tmp_path, "lr=1e-3,1e38", "--jobs", "2")
    assert main(arguments) == 1
    printed = capsys.readouterr().out
    assert "2 jobs, 2 of them to do" in printed
    assert "1 of 2 jobs have finished" in printed
    good, bad = sorted(names(tmp_path), key=len)
    assert [record.status for name in (good, bad) if (record := load_record(tmp_path / name))] == ["finished", "nan"]
    (folder,) = tmp_path.glob(".sweep-*")
    assert folder.stat().st_mode & 0o077 == 0
    pickles = sorted(folder.glob("*.pkl"))
    assert len(pickles) == 4  # what was submitted, and what came back
    for path in pickles:
        strings = {str(value) for _, value, _ in pickletools.genops(path.read_bytes()) if isinstance(value, str)}
        assert not {string for string in strings if string.startswith("experiments.")}
    (log,) = [word for line in printed.splitlines() for word in line.split("; ") if word.endswith("_log.err")]
    assert "exit status 1" in Path(log).read_text()

    again = printed.splitlines()[-1].strip()
    assert again.startswith(f"rm -r {shlex.quote(str(tmp_path / bad))} && python -m experiments copying ")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert main(arguments) == 1
    assert "2 jobs, 0 of them to do" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_only_what_has_not_finished_is_run(
    tmp_path: Path, inside: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(tmp_path, "--seeds", "0")) == 0
    assert len(inside) == 1
    inside.clear()
    assert main(command(tmp_path, "--seeds", "0..1", models=("lstm", "atn"))) == 0
    assert [name.partition("-T2-")[2].partition("-steps")[0] for name in inside] == [
        "atn-seed0",
        "lstm-seed1",
        "atn-seed1",
    ]
    assert "4 of 4 jobs have finished" in capsys.readouterr().out
    assert not list(tmp_path.glob(".sweep-*"))
    assert sorted(inside + names(tmp_path)[2:3]) == names(tmp_path)


def test_what_did_not_finish_is_listed_with_a_command_that_finishes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_executor: object, commands: Mapping[str, list[str]], _cpus: int, _at_once: int) -> Any:
        return iter([jobs.Ended(name, Path("why.err")) for name in commands])

    with monkeypatch.context() as patch:
        patch.setattr(sweep, "run_jobs", fail)
        assert main(command(tmp_path, "--seeds", "0..1")) == 1
    printed = capsys.readouterr().out
    assert printed.count("not begun; why.err") == 2
    assert "0 of 2 jobs have finished" in printed
    for line in printed.splitlines():
        if line.startswith("    python -m experiments "):
            assert main(shlex.split(line)[3:]) == 0
    assert main(command(tmp_path, "--seeds", "0..1")) == 0


def test_a_dry_run_lists_and_runs_nothing(
    tmp_path: Path, inside: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(tmp_path, "lr=1e-3,2e-3", "--seeds", "0..1", "--dry-run")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (len(lines), inside, list(tmp_path.iterdir())) == (4, [], [])
    assert all(line.startswith("python -m experiments copying --preset smoke --model lstm --seed") for line in lines)
    assert [line.count("--lr=1e-3") for line in lines] == [1, 0, 1, 0]


def planned(*words: str) -> list[str]:
    """Names of the jobs of a sweep."""
    options = sweep.parse_sweep(["--unverified", *words])
    return [entry.name for entry in sweep.plan_sweep(options)]


def test_a_sweep_combines_everything() -> None:
    found = planned("copying", "adding", "--presets", "paper", "smoke", "--seeds", "0..2", "--set", "T=100,200")
    assert len(found) == len(set(found)) == 2 * 2 * 3 * 2 * 3
    assert "adding-paper-T200-atn-seed2" in found


def test_the_same_run_is_there_once() -> None:
    assert len(planned("copying", "copying", "--models", "atn", "--set", "T=100,100")) == 1


def test_settings_of_several_options_add_up() -> None:
    together = planned("copying", "--models", "atn", "--set", "T=3,4", "k=2")
    assert planned("copying", "--models", "atn", "--set", "T=3,4", "--set", "k=2") == together
    assert together == ["copying-paper-T3-atn-seed5544-k=2", "copying-paper-T4-atn-seed5544-k=2"]


@pytest.mark.parametrize("words", [["copying", "window-study"], ["window-study", "copying"]])
def test_a_run_of_two_tasks_is_of_one_job(words: list[str]) -> None:
    found = [name for job in planned(*words, "--presets", "smoke") for name in job.split(" + ")]
    assert len(found) == len(set(found)) == 2 + 3


def test_a_run_is_of_one_job_whatever_the_settings_choose() -> None:
    (job,) = planned("window-study", "--models", "atn", "--set", "k=25,None,65")
    assert job.count(" + ") == 2


@pytest.mark.parametrize("name", ["one-example", "zero-share", "mptt", "copying", "norm-variance"])
def test_a_sweep_without_models_has_those_of_the_task(name: str) -> None:
    task = TASKS[name]
    options = sweep.parse_sweep([name])
    entries = sweep.plan_sweep(options)
    assert [entry.arguments[4] for entry in entries] == list(task.standard_models)
    assert {entry.arguments[2] for entry in entries} == {task.standard_preset}


def test_a_sweep_leaves_out_the_models_that_a_study_lacks() -> None:
    assert [job.split("-")[3] for job in planned("statistics")] == ["ln", "atn"]


def test_a_dry_run_with_nothing_left(tmp_path: Path, inside: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(tmp_path)) == 0
    capsys.readouterr()
    assert main(command(tmp_path, "--dry-run")) == 0
    assert (capsys.readouterr().out, len(inside)) == ("0 of 1 jobs to do\n", 1)


def test_switches_are_settings_too() -> None:
    found = planned("copying", "--models", "atn", "--set", "compile=True,False", "dtype=bfloat16")
    assert [name.partition("seed5544")[2] for name in found] == ["-dtype=bfloat16-compile=True", "-dtype=bfloat16"]


def test_a_task_of_several_runs_a_model_is_one_job_a_model() -> None:
    found = planned("window-study")
    assert len(found) == 3
    assert any(name.count(" + ") >= 1 for name in found)


def test_the_job_of_an_entry_makes_the_runs_that_were_planned(tmp_path: Path) -> None:
    words = ["copying", "window-study", "--presets", "smoke", "paper", "--seeds", "3..4", "--set", "compile=True,False"]
    options = ["--device", "cuda:1", "--runs", str(tmp_path / "runs"), "--data-dir", str(tmp_path), "--tensorboard"]
    entries = sweep.plan_sweep(sweep.parse_sweep([*words, *options, "--unverified"]))
    # The study's LSTM and LN are runs of the copying problem, whose ATN is one of the study's three windows.
    assert [len(entry.folders) for entry in entries].count(3) == 2 * 2 * 2
    assert len(entries) == 2 * 2 * 2 * 3
    for entry in entries:
        name, *arguments = entry.arguments
        command = task_command.parse_task(TASKS[name], arguments, "job")
        runs = task_command.plan_runs(TASKS[name], command, "job")
        folders = [command.runs / run._replace(settings=run.settings.completed()).name for run in runs]
        assert tuple(folders) == entry.folders
        assert (command.device, command.data_dir) == ("cuda:1", tmp_path)
        assert (command.tensorboard, command.unverified) == (True, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no task; there are copying, "),
        (["coping"], "unknown task 'coping'"),
        (["copying", "--models", "gru"], "gru"),
        (["copying", "--seeds", "4..0"], "'4..0' is neither a seed nor a range"),
        (["copying", "--set", "T"], "--set T: a setting and its values look like T=100,200"),
        (["copying", "--set", "T="], "--set T=: a setting"),
        (["copying", "--set", "depth=3"], "--depth"),
        (["copying", "--set", "model=atn"], "--model"),
        (["copying", "--set", "seed=1", "--seeds", "0..1"], "--set seed and --seeds: give one of them"),
        (["copying", "--set", "T=3", "T=4"], "--set T=4: T is there twice; give all of its values at once"),
        (["copying", "--set", "T=3", "--set", "T=3"], "--set T=3: T is there twice"),
        (["copying", "--set", "validate-every=3", "validate_every=4"], "validate_every is there twice"),
        (["copying", "--models", "atn", "--models", "ln"], "--models is there 2 times; give it once, with all of its"),
        (["copying", "--presets", "normprop"], "--presets normprop: copying has paper, released, demo, smoke"),
        (["one-example", "--models", "lstm"], "--models lstm: one-example has shift, cn"),
        (["copying", "statistics", "--models", "lstm"], "--models lstm: statistics has no such run"),
        (["window-study", "--models", "ln", "--set", "k=2"], "--models ln: window-study has no such run"),
        (["copying", "--device", "tpu"], "--device tpu: unknown device 'tpu'; there are cpu and cuda"),
        (["copying", "--device", "meta"], "--device meta: there are cpu and cuda"),
        (["copying", "--set", "T=0"], "T is 0; it must be at least 1"),
        (["copying", "--jobs", "0"], "experiments: --jobs is 0; it must be at least 1"),
        (["copying", "--gpus", "-1"], "experiments: --gpus is -1; it must be at least 0"),
        (["copying", "--executor", "cloud"], "cloud"),
        (["copying", "--jobs", "99999999999999999999"], "jobs is 99999999999999999999; it must be at most 10,000"),
        (["copying", "--minutes", "99999999"], "minutes is 99999999; it must be at most 527,040"),
        (["copying", "--cpus", "99999"], "cpus is 99999; it must be at most 4,096"),
        (["copying", "--gpus", "99999"], "gpus is 99999; it must be at most 4,096"),
        (["copying", "--minutes", "nan"], "--minutes"),
        (["copying", "--seeds", "99999999999999999999"], "too large"),
        (["copying", "--set", "seed=99999999999999999999"], "seed is 99999999999999999999; it must be at most"),
        (["copying", "--set", "lr=nan"], "lr is nan; it must be a finite number"),
        (["copying", "--data-dir", ""], "--data-dir"),
        (["copying", "--data-dir", __file__], "it is not a folder"),
    ],
)
def test_a_sweep_that_cannot_be_understood(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", *words, "--unverified", "--runs", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("runs", "message"), [("", "a path must not be empty"), (__file__, "it is not a folder")])
def test_a_sweep_into_no_folder(runs: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "copying", "--unverified", "--runs", runs]) == 2
    assert message in capsys.readouterr().err


def test_no_stamp_no_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: list[str]) -> None:
    monkeypatch.setattr(task_command, "check_stamp", lambda: stamp.check_stamp(tmp_path))
    words = [word for word in command(tmp_path / "runs") if word != "--unverified"]
    assert main(words) == 3
    assert (inside, (tmp_path / "runs").exists()) == ([], False)


def test_no_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", "")
    assert main(command(tmp_path, executor="slurm")) == 2
    assert capsys.readouterr().err == "experiments: --executor slurm: there is no srun here\n"
    assert not list(tmp_path.iterdir())
    assert make_executor("auto", tmp_path, Resources(1, 1, 0, None)).cluster == "local"


def test_the_slurm_script_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm_cluster, "_path", lambda: "")
    assert slurm_cluster.missing_programs() == list(slurm_cluster.PROGRAMS)


class FakeExecutor:
    """Takes jobs, each of which ends at the third look at it."""

    def __init__(self, cluster: str, folder: Path) -> None:
        self.cluster = cluster
        self.folder = folder
        self.looks: dict[str, int] = {}
        self.most = 0

    def submit(self, function: Any) -> Any:
        """Begin a job."""
        name = function.command[-1]
        self.looks[name] = 0
        self.most = max(self.most, sum(number < 3 for number in self.looks.values()))

        def done() -> bool:
            self.looks[name] += 1
            return self.looks[name] >= 3

        paths = SimpleNamespace(stderr=self.folder / f"{name}.err", result_pickle=self.folder / f"{name}.pkl")
        return SimpleNamespace(done=done, paths=paths, job_id=name)


@pytest.mark.parametrize(("at_once", "most"), [(1, 1), (3, 3), (99, 7)])
def test_no_more_jobs_at_once_than_asked(
    at_once: int, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "POLL_SECONDS", 0)
    executor: Any = FakeExecutor("local", tmp_path)
    commands = {str(number): ["run", str(number)] for number in range(7)}
    ended = [job.name for job in run_jobs(executor, commands, cpus=1, at_once=at_once)]
    assert sorted(ended) == sorted(commands)
    assert executor.most == most


def answering(*answers: str) -> Callable[..., Any]:
    """A squeue that gives these answers in turn; "?" is none."""
    rest = iter(answers)

    def run(*_: object, **__: object) -> Any:
        answer = next(rest)
        return SimpleNamespace(stdout=answer, returncode=int(answer == "?"))

    return run


def test_a_job_that_slurm_has_no_more_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "POLL_SECONDS", 0)
    monkeypatch.setattr(jobs, "QUEUE_SECONDS", 0)
    monkeypatch.setattr(subprocess, "run", answering("1\n2\n3\n", "?", "2\n3\n", "2\n3\n"))
    executor: Any = FakeExecutor("slurm", tmp_path)
    ending = run_jobs(executor, {name: ["run", name] for name in "123"}, cpus=1, at_once=3)
    assert next(ending).name == "1"
    (tmp_path / "3.pkl").touch()
    assert next(ending).name == "3"
    (tmp_path / "2.pkl").touch()
    assert [job.name for job in ending] == ["2"]
