"""What decides a run's numbers, and what the run is therefore called."""

import dataclasses
from typing import Any, ClassVar, Literal

ModelName = Literal["lstm", "ln", "atn"]
PresetName = Literal["paper", "released", "smoke"]

MODELS: tuple[ModelName, ...] = ("lstm", "ln", "atn")
"""The plain LSTM, LN-LSTM and ATN-LSTM, in the order of the paper's tables."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What every task has; a task adds its own fields, and its presets give each field a value.

    Raises
    ------
    ValueError
        A count below 1 or a seed below 0.
    """

    free: ClassVar[tuple[str, ...]] = ()
    """Fields that are chosen within a preset, as the paper's two lengths T are; the run's name shows them."""

    steps: int
    """Optimisation steps, one batch each."""

    seed: int
    """Seed of the initialisation and of all data. 5544 is the released script's."""

    validate_every: int
    """Steps between two validation batches."""

    def __post_init__(self) -> None:
        require_at_least(self, 1, "steps", "validate_every")
        require_at_least(self, 0, "seed")

    def differences(self, preset: "Settings") -> dict[str, list[Any]]:
        """Fields that stand otherwise than in `preset`: ``{field: [the preset's value, this value]}``.

        The seed and the `free` fields do not count.
        """
        fields = [field.name for field in dataclasses.fields(self) if field.name not in {"seed", *self.free}]
        pairs = {name: [getattr(preset, name), getattr(self, name)] for name in fields}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


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
    """Name of a run's folder, another one for any other settings.

    ``copying-released-T100-atn-seed5544``, and ``...-seed5544-steps=200`` where `settings` differ from `preset`.
    """
    free = [f"{name}{getattr(settings, name)}" for name in settings.free]
    changed = [f"{name}={value}" for name, (_, value) in settings.differences(preset).items()]
    return "-".join([task, preset_name, *free, model, f"seed{settings.seed}", *changed])
