"""Checkpoints of the parameters, the optimizer and the random state after a step, as safetensors files.

``checkpoint.safetensors`` is the newest checkpoint, ``checkpoint-previous.safetensors`` the previous one. Each contains
a digest of its content and the name of its run, so that a damaged file or one of another run is recognized.
"""

import hashlib
import itertools
import json
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from experiments.common.errors import ExperimentError
from experiments.common.files import sync_folder, write_aside
from experiments.training import distributed
from experiments.training.problem import Problem

NEWEST = "checkpoint.safetensors"
PREVIOUS = "checkpoint-previous.safetensors"


class Times(NamedTuple):
    """Seconds that a run has taken so far, by the rule of `active_clock`."""

    all: float
    """Seconds of all its steps, including validations."""
    validation: float
    """Seconds of its validations."""


NO_TIME = Times(0.0, 0.0)
"""The times of a run before its first step."""


class Checkpoint(NamedTuple):
    """State of a run after a step."""

    step: int
    times: Times
    tensors: dict[str, Tensor]


def capture(step: int, times: Times, problem: Problem) -> Checkpoint:
    """Checkpoint of the current state. Its tensors may be changed by the next step, so save it before.

    If several processes train together, all of them call this function: the checkpoint holds the random state of each.
    """
    tensors = {f"model.{name}": value for name, value in problem.model.state_dict().items()}
    for index, state in problem.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items() if value is not None}
    tensors |= {f"carried.{name}": value for name, value in problem.state_dict().items()}
    tensors |= _random_states("cpu", torch.get_rng_state())
    if problem.device.type == "cuda":
        tensors |= _random_states("cuda", torch.cuda.get_rng_state(problem.device))
    return Checkpoint(step, times, tensors)


def _random_states(device: str, state: Tensor) -> dict[str, Tensor]:
    # Cloned, since PyTorch takes no state from inside a larger tensor.
    return {f"random.{_own(device, rank)}": row.clone() for rank, row in enumerate(distributed.gather(state[None], 0))}


def _own(device: str, rank: int) -> str:
    return f"{device}.{rank}" if rank else device


def restore(checkpoint: Checkpoint, problem: Problem) -> None:
    """Restore the state of the checkpoint.

    If the checkpoint was written by fewer processes, a process without a random state in it keeps its current one.

    Raises
    ------
    ExperimentError
        If it does not fit the problem's model or optimizer.
    """
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "carried": {}, "random": {}}
    for name, value in checkpoint.tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = value
    states: dict[int, dict[str, Tensor]] = {}
    for name, value in parts["optimizer"].items():
        index, _, field = name.partition(".")
        states.setdefault(int(index), {})[field] = value
    try:
        problem.model.load_state_dict(parts["model"])
        problem.optimizer.load_state_dict({**problem.optimizer.state_dict(), "state": states})
        problem.load_state_dict(parts["carried"])
    except (RuntimeError, ValueError) as error:
        raise ExperimentError(f"the checkpoint does not fit the model: {error}") from None
    random = parts["random"]
    if (state := random.get(_own("cpu", distributed.rank()))) is not None:
        torch.set_rng_state(state)
    if problem.device.type == "cuda" and (state := random.get(_own("cuda", distributed.rank()))) is not None:
        torch.cuda.set_rng_state(state, problem.device)


def save_checkpoint(folder: Path, run: str, checkpoint: Checkpoint) -> None:
    """Save the newest checkpoint of the run; the checkpoint that was the newest becomes the previous one.

    If the process is killed at any moment, the newest or the previous checkpoint is whole.

    Raises
    ------
    OSError
        Of the write; the checkpoints stand as before.
    """
    aside = write_aside(folder / NEWEST, _encode(run, checkpoint))
    if (folder / NEWEST).exists():
        (folder / NEWEST).replace(folder / PREVIOUS)
    aside.replace(folder / NEWEST)
    sync_folder(folder)


def load_checkpoint(folder: Path, run: str) -> tuple[Checkpoint | None, list[str]]:
    """Newest undamaged checkpoint of the run, and remarks to the user about damaged ones.

    A damaged newest checkpoint is renamed, since the next save would make it the previous one.

    Returns
    -------
    checkpoint : Checkpoint or None
        None if the run has none yet.
    remarks : list of str
        Empty if all is well.

    Raises
    ------
    ExperimentError
        If there are checkpoints and all of them are damaged; the files are unchanged.
    """
    found = [folder / name for name in (NEWEST, PREVIOUS) if (folder / name).exists()]
    damages: dict[Path, str] = {}
    for path in found:
        try:
            checkpoint = _decode(path, run)
        except _DamagedError as damage:
            damages[path] = str(damage)
            continue
        return checkpoint, _fall_back(folder, path, checkpoint, damages)
    if damages:
        listed = "; ".join(f"{path.name}: {damage}" for path, damage in damages.items())
        raise ExperimentError(f"no good checkpoint in {folder} ({listed}); remove the folder to begin again")
    return None, []


def _fall_back(folder: Path, chosen: Path, checkpoint: Checkpoint, damages: dict[Path, str]) -> list[str]:
    if chosen.name == NEWEST:
        return []
    remarks = [f"going on from the previous checkpoint, of step {checkpoint.step}"]
    for path, damage in damages.items():
        kept = path.replace(_free_name(folder))
        remarks.insert(0, f"{path} is damaged ({damage}), kept as {kept.name}")
    return remarks


def _free_name(folder: Path) -> Path:
    names = (folder / f"checkpoint-damaged-{number}.safetensors" for number in itertools.count(1))
    return next(path for path in names if not path.exists())


class _DamagedError(Exception):
    """The file is damaged, or is a checkpoint of another run."""


def _encode(run: str, checkpoint: Checkpoint) -> bytes:
    tensors = {name: value.detach().cpu().contiguous() for name, value in checkpoint.tensors.items()}
    notes = {"run": run, "step": str(checkpoint.step), "seconds": repr(list(checkpoint.times))}
    return save(tensors, metadata={**notes, "digest": _digest(notes, tensors)})


def _decode(path: Path, run: str) -> Checkpoint:
    try:
        with safe_open(path, framework="pt") as file:
            notes = file.metadata() or {}
            # Cloned, since what is read may be a view of the mapped file.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a mapping
    except SafetensorError as error:
        raise _DamagedError(str(error)) from None
    if notes.pop("digest", None) != _digest(notes, tensors):
        raise _DamagedError("its content does not have the digest written with it")
    if notes["run"] != run:
        raise _DamagedError(f"it belongs to the run {notes['run']}")
    return Checkpoint(int(notes["step"]), Times(*json.loads(notes["seconds"])), tensors)


def _digest(notes: dict[str, str], tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(repr(sorted(notes.items())).encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
