"""The study of window lengths, section 5.3 of the paper: Figure 7.

The study trains LSTM, LN and ATN with several k on the copying problem at T = 100. Three of its runs are runs of the
copying task and keep that task's name, so that they are not repeated. The other runs have this task's name and their k.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar

from experiments.tasks import copying
from experiments.tasks.copying import CopyingSettings
from experiments.training.settings import ModelName, PresetName
from experiments.training.task import Part

NAME = "window-study"

WINDOWS: Mapping[PresetName, tuple[int, ...]] = {"paper": (25, 45, 65), "released": (25, 45, 65), "smoke": (2, 4, 6)}
"""Window lengths of the study; section 5.3 has 25, 45 and 65."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class WindowStudySettings(CopyingSettings):
    """Settings of the copying problem. Section 5.3 says only that they are "under the same conditions"."""

    free: ClassVar[tuple[str, ...]] = ("T", "k")

    k: int | None
    """Window length of a single ATN model to train. None for the whole study: LSTM, LN, and ATN with each k of
    `WINDOWS`."""

    def check_no_k(self) -> None:
        """Accept k = None at every T: it stands for the whole study."""


def _study(settings: CopyingSettings) -> WindowStudySettings:
    return WindowStudySettings(**{**dataclasses.asdict(settings), "k": None})


PRESETS: Mapping[PresetName, WindowStudySettings] = {name: _study(copying.PRESETS[name]) for name in WINDOWS}
"""The presets of the copying problem with k = None, but for its demonstration, which has one window length."""


def plan(preset: PresetName, settings: WindowStudySettings, models: Sequence[ModelName]) -> list[Part]:
    """The runs of the study: runs of the copying task under that task's name, and the others under this task's name.

    Parameters
    ----------
    preset : {"paper", "released", "smoke"}
        Preset of the copying runs, and of the window lengths if the settings have k = None.
    settings : WindowStudySettings
        Settings of every run, apart from its k.
    models : sequence of {"lstm", "ln", "atn"}
        Models to train.
    """
    shared = {name: value for name, value in dataclasses.asdict(settings).items() if name != "k"}
    copying_settings = dataclasses.replace(copying.PRESETS[preset], **shared)
    parts = []
    for model in models:
        if model == "atn":
            windows = WINDOWS[preset] if settings.k is None else (settings.k,)
            parts += [
                Part(copying.NAME, model, copying_settings)
                if k == copying_settings.k
                else Part(NAME, model, dataclasses.replace(settings, k=k))
                for k in windows
            ]
        elif settings.k is None:
            parts.append(Part(copying.NAME, model, copying_settings))
    return parts
