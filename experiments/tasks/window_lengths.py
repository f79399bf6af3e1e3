"""The study of window lengths, section 5.3 of the paper: Figure 7.

The copying problem at T = 100 with LSTM, LN and ATN of several k. Three of the runs are those of the copying task
itself, which are not made again; the others are the copying problem under this task's name, with their k in it.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar

from experiments.tasks import copying
from experiments.tasks.copying import CopyingSettings
from experiments.training.settings import ModelName, Part, PresetName

NAME = "window-study"

WINDOWS: Mapping[PresetName, tuple[int, ...]] = {"paper": (25, 45, 65), "released": (25, 45, 65), "smoke": (2, 4, 6)}
"""Window lengths of the study; section 5.3 has 25, 45 and 65."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class WindowStudySettings(CopyingSettings):
    """Settings of the copying problem; "under the same conditions" is all that section 5.3 says of them."""

    free: ClassVar[tuple[str, ...]] = ("T", "k")

    k: int | None
    """Window length of a single ATN to train. None: the whole study, which is LSTM, LN, and ATN with `WINDOWS`."""

    def check_no_k(self) -> None:
        """None is the whole study, at any T."""


def _study(settings: CopyingSettings) -> WindowStudySettings:
    return WindowStudySettings(**{**dataclasses.asdict(settings), "k": None})


PRESETS: Mapping[PresetName, WindowStudySettings] = {
    name: _study(settings) for name, settings in copying.PRESETS.items()
}
"""Those of the copying problem."""


def plan(preset: PresetName, settings: WindowStudySettings, models: Sequence[ModelName]) -> list[Part]:
    """Runs of the study: those that the copying task has under its own name, and the rest under this one's.

    Parameters
    ----------
    preset : {"paper", "released", "smoke"}
        Which copying runs, and which window lengths where the settings have None.
    settings : WindowStudySettings
        Of every run but for its k.
    models : sequence of {"lstm", "ln", "atn"}
        Those to train.
    """
    of_copying = copying.PRESETS[preset]
    shared = {name: value for name, value in dataclasses.asdict(settings).items() if name != "k"}
    copied = dataclasses.replace(of_copying, **shared)
    parts = []
    for model in models:
        if model == "atn":
            windows = WINDOWS[preset] if settings.k is None else (settings.k,)
            own = {k: Part(NAME, model, dataclasses.replace(settings, k=k)) for k in windows}
            parts += [Part(copying.NAME, model, copied) if k == copied.k else part for k, part in own.items()]
        elif settings.k is None:
            parts.append(Part(copying.NAME, model, copied))
    return parts
