"""Commands as jobs, of this machine or of a SLURM cluster, through submitit.

What is submitted is a command line: nothing of this package is pickled, and no job's result is ever loaded.
"""

import math
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import submitit
from submitit.helpers import CommandFunction

from experiments.common.environment import ROOT
from experiments.common.errors import UsageError

ExecutorName = Literal["auto", "local", "slurm"]

POLL_SECONDS = 0.5
"""Seconds between two checks of the jobs."""

QUEUE_SECONDS = 10.0
"""Seconds between two queries to SLURM."""

Job = submitit.Job[str]


class Resources(NamedTuple):
    """The resources of a job."""

    minutes: int
    """Longest time, after which it is ended."""
    cpus: int
    """Cores, and threads of PyTorch."""
    gpus: int
    partition: str | None
    """SLURM's partition; None for the cluster's default."""


class Ended(NamedTuple):
    """A job that has ended, whether it succeeded or failed."""

    name: str
    log: Path
    """Path of its error log."""


def check_executor(name: ExecutorName) -> None:
    """Check that the executor is available.

    Raises
    ------
    UsageError
        If `name` is "slurm" and the machine has no SLURM.
    """
    if name == "slurm" and shutil.which("srun") is None:
        raise UsageError("--executor slurm: there is no srun here")


def make_executor(name: ExecutorName, folder: Path, resources: Resources) -> submitit.AutoExecutor:
    """Executor that keeps its scripts and logs in `folder`; "auto" is SLURM where there is one."""
    executor = submitit.AutoExecutor(folder, cluster=None if name == "auto" else name)
    executor.update_parameters(
        name="experiments",
        timeout_min=resources.minutes,
        cpus_per_task=resources.cpus,
        gpus_per_node=resources.gpus,
        slurm_partition=resources.partition,
    )
    return executor


def run_jobs(
    executor: submitit.AutoExecutor, commands: Mapping[str, Sequence[str]], cpus: int, at_once: int
) -> Iterator[Ended]:
    """Run the commands in the checkout, a limited number at once, and yield each job when it has ended."""
    waiting = list(commands.items())
    running: dict[str, Job] = {}
    queue = _SlurmQueue() if executor.cluster == "slurm" else _Processes()
    while waiting or running:
        while waiting and len(running) < at_once:
            name, command = waiting.pop(0)
            running[name] = executor.submit(CommandFunction(_with_threads(command, cpus), cwd=ROOT))
        for name in queue.ended(running):
            yield Ended(name, running.pop(name).paths.stderr)
        if running:
            time.sleep(POLL_SECONDS)


class _Processes:
    """Jobs on this machine."""

    def ended(self, jobs: Mapping[str, Job]) -> list[str]:
        """Names of those that have ended."""
        return [name for name, job in jobs.items() if job.done()]


class _SlurmQueue:
    """Jobs on a cluster: a job has ended once its result exists, or SLURM no longer lists it.

    submitit itself asks sacct, which knows nothing where the cluster keeps no accounts.
    """

    def __init__(self) -> None:
        self._asked = -math.inf

    def ended(self, jobs: Mapping[str, Job]) -> list[str]:
        """Names of those that have ended."""
        gone = [name for name, job in jobs.items() if job.paths.result_pickle.exists()]
        if not gone and time.monotonic() - self._asked >= QUEUE_SECONDS:
            self._asked = time.monotonic()
            gone = _not_queued(jobs)
        return gone


def _not_queued(jobs: Mapping[str, Job]) -> list[str]:
    """Jobs that SLURM does not list; none if it does not answer."""
    command = ["squeue", "--me", "--noheader", "--format=%A"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - a fixed command
    queued = answer.stdout.split()
    return [name for name, job in jobs.items() if job.job_id not in queued] if answer.returncode == 0 else []


def _with_threads(command: Sequence[str], cpus: int) -> list[str]:
    return ["env", f"OMP_NUM_THREADS={cpus}", *command]
