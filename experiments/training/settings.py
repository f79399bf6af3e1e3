"""The settings that determine a run's numbers, and the run's name, which follows from them."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from experiments.training.records.curve import MOST_ROWS
from experiments.training.records.summary import Level

ModelName = Literal["lstm", "ln", "atn", "detached", "prop", "wn", "bn", "shift", "cn", "equal", "unequal"]
PresetName = Literal["paper", "released", "normprop", "budget", "demo", "smoke"]
DtypeName = Literal["float32", "bfloat16"]

UNREPORTED_PRESETS: frozenset[PresetName] = frozenset({"demo", "smoke"})
"""Presets that are not from the paper: a demonstration, and a size for trying out the code. No report shows them."""

MODELS: tuple[ModelName, ...] = ("lstm", "ln", "atn")
"""The plain LSTM, LN-LSTM and ATN-LSTM, in the order of the paper's tables. The other models are of single tasks:
"detached" is the ATN-LSTM whose statistics are constants to the gradient, "prop" the LSTM of Normalization Propagation,
"wn" that with weight normalization and "bn" that with recurrent batch normalization; "shift" and "cn" are convolutional
networks without and with channel normalization, "equal" and "unequal" depths of simulated cells."""

LARGEST = 2**31 - 1
"""Largest integer that a setting takes: larger counts overflow in PyTorch."""

LARGEST_SEED = 2**63 - 1
"""Largest seed that PyTorch's and NumPy's generators both take."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of every task; a task adds fields, and its presets give each field a value.

    Raises
    ------
    ValueError
        A count below 1, a seed below 0 or above `LARGEST_SEED`, an integer above `LARGEST`, or a number that is not
        finite.
    """

    free: ClassVar[tuple[str, ...]] = ()
    """Fields that are chosen within a preset, as the paper's two lengths T are; the run's name shows them."""

    most_rows: ClassVar[int] = MOST_ROWS
    """Rows of a run's curve at most; fewer for a task with many runs whose training losses no report shows."""

    steps: int
    """Optimization steps, one batch each."""

    seed: int
    """Seed of the initialization and of all data. 5544 is that of the released script of the copying task."""

    validate_every: int
    """Steps between two validations."""

    dtype: DtypeName = "float32"
    """Dtype of matrix products. The paper names none; the released scripts use float32. bfloat16 is by
    `torch.autocast`: parameters, statistics and losses stay float32."""

    compile: bool = False
    """Compile the model with torch.compile, which computes the same function with other rounding."""

    def __post_init__(self) -> None:
        for name in self._names():
            value = getattr(self, name)
            for number in value if isinstance(value, tuple) else (value,):
                _require_usable(name, number)
        require_at_least(self, 1, "steps", "validate_every")
        require_at_least(self, 0, "seed")

    def standard(self, name: str) -> Any:  # noqa: ARG002 - for tasks with such fields
        """The value that replaces None in the field `name`; it may depend on the free fields, and is None for most."""
        return None

    def unused(self, model: ModelName) -> tuple[str, ...]:  # noqa: ARG002 - for tasks with such fields
        """Fields that do not change the numbers of this model; none for most tasks."""
        return ()

    def levels(self) -> tuple[Level, ...]:
        """Levels of the training loss whose first step is recorded; none for most tasks."""
        return ()

    def completed(self) -> Self:
        """These settings with the standard values in the place of None."""
        return dataclasses.replace(self, **{name: self._value(self, name) for name in self._names()})

    def differences(self, preset: "Settings") -> dict[str, list[Any]]:
        """Fields that differ from `preset`: ``{field: [the preset's value, this value]}``.

        The seed and the `free` fields do not count.
        """
        names = [name for name in self._names() if name not in {"seed", *self.free}]
        pairs = {name: [self._value(preset, name), self._value(self, name)] for name in names}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}

    def with_defaults(self, recorded: Mapping[str, Any]) -> dict[str, Any]:
        """A record's settings, and the default of each that it lacks: one that was added after its run."""
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        return {name: value for name, value in defaults.items() if value is not dataclasses.MISSING} | dict(recorded)

    def _names(self) -> list[str]:
        return [field.name for field in dataclasses.fields(self)]

    def _value(self, settings: "Settings", name: str) -> Any:
        """Value of the field in `settings`, with None replaced by the standard value of these settings."""
        value = getattr(settings, name)
        return self.standard(name) if value is None else value


def _require_usable(name: str, value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} is {value}; it must be a finite number")
    largest = LARGEST_SEED if name == "seed" else LARGEST
    if isinstance(value, int) and value > largest:
        raise ValueError(f"{name} is {value}; it must be at most {largest}")


def require_at_least(settings: Settings, bound: int, *names: str) -> None:
    """Check that the named fields are at least `bound`.

    Raises
    ------
    ValueError
        Naming the first field that is below.
    """
    for name in names:
        if not getattr(settings, name) >= bound:
            raise ValueError(f"{name} is {getattr(settings, name)}; it must be at least {bound}")


def run_name(task: str, preset_name: PresetName, model: ModelName, settings: Settings, preset: Settings) -> str:
    """Name of a run's folder, which is different for different settings.

    ``copying-released-T100-atn-seed5544``, and ``...-seed5544-steps=200`` where `settings` differ from `preset`.
    """
    free = [f"{name}{getattr(settings, name)}" for name in settings.free]
    changed = [f"{name}={value}" for name, (_, value) in settings.differences(preset).items()]
    return "-".join([task, preset_name, *free, model, f"seed{settings.seed}", *changed])


def name_with_model(name: str, model: ModelName, other: ModelName) -> str:
    """Name of the run that differs from the run `name` in its model alone."""
    return name.replace(f"-{model}-seed", f"-{other}-seed")
