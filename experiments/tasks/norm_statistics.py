"""Statistics after the norms, section 5.2 of the paper: Figure 6.

A run is one training iteration of the adding problem with T = 75, for LN or for ATN with some k, without gain and
shift. At each of the T steps there are three norms, of W_hh h, of W_ih x and of c. The mean and the variance of the
output of each norm are taken over the features of a case and averaged over the batch.

The paper leaves these choices open:

- the iteration; here it is the first one, so that the values are those of the initial parameters;
- the axes of the statistics; here they are taken over the features of a case, for which LN makes them constant, and
  then averaged over the batch;
- the other settings; here they are those of the adding problem, section 4.1.2.

The curve of a run contains the values as measurements of its step; `read_statistics` returns them by norm.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from atn import ATNLSTM
from atn.functional import assorted_time_norm
from experiments.tasks import adding
from experiments.tasks.adding import Adding, AddingSettings
from experiments.training.settings import ModelName, PresetName
from experiments.training.task import Part

NAME = "statistics"

NormName = Literal["hh", "ih", "c"]

NORMS: tuple[NormName, ...] = ("hh", "ih", "c")
"""The norms of W_hh h, of W_ih x and of c: Figures 6a, 6b and 6c."""

WINDOWS: Mapping[PresetName, tuple[int, ...]] = {"paper": (5, 25, 55), "smoke": (2, 4, 8)}
"""Window lengths of ATN; section 5.2 has 5, 25 and 55."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StatisticsSettings(AddingSettings):
    """Settings of the adding problem. Section 5.2 gives T, k, and that the norms have no gain and shift."""

    free: ClassVar[tuple[str, ...]] = ("k",)

    T: int
    """Number of steps of a sequence. Paper: 75."""

    k: int | None
    """Window length of a single model; k = 1 is LN. None for all models of the figure: LN, and ATN with each k of
    `WINDOWS`."""

    def check_no_k(self) -> None:
        """Accept k = None at every T: it stands for all models of the figure."""


def _of_adding(settings: AddingSettings, T: int) -> StatisticsSettings:
    return StatisticsSettings(**{**dataclasses.asdict(settings), "T": T, "k": None, "steps": 1, "validate_every": 1})


PRESETS: Mapping[PresetName, StatisticsSettings] = {
    "paper": _of_adding(adding.PRESETS["paper"], 75),
    "smoke": _of_adding(adding.PRESETS["smoke"], 10),
}
"""The presets of the adding problem with one iteration. There is no preset "released": the script of this experiment is
not published."""


def plan(preset: PresetName, settings: StatisticsSettings, models: Sequence[ModelName]) -> list[Part]:
    """The runs of the figure: LN, and ATN with each window length.

    Parameters
    ----------
    preset : {"paper", "smoke"}
        Preset that gives the window lengths if the settings have k = None.
    settings : StatisticsSettings
        Settings of every run, apart from its k.
    models : sequence of {"lstm", "ln", "atn"}
        Models to run. The plain LSTM has no norms and is left out.
    """
    windows = (1, *WINDOWS[preset]) if settings.k is None else (settings.k,)
    runs: list[tuple[ModelName, int]] = [("ln" if k == 1 else "atn", k) for k in windows]
    return [Part(NAME, model, dataclasses.replace(settings, k=k)) for model, k in runs if model in models]


class Normalized(NamedTuple):
    """Outputs of the three norms of a layer at every step, and the output of the layer."""

    hh: Tensor
    """ATN(W_hh h[t-1]), shape (T, B, 4H)."""
    ih: Tensor
    """ATN(W_ih x[t]), shape (T, B, 4H)."""
    c: Tensor
    """ATN(c[t]), shape (T, B, H)."""
    h: Tensor
    """Output of the layer, shape (T, B, H)."""


def normalized(lstm: ATNLSTM, x: Tensor) -> Normalized:
    """Outputs of the norms of an LN or ATN layer, without gain and shift, for input x (T, B, features).

    The layer computes h and c step by step. The norms of the whole sequences follow from them by Eqs. (14)-(16).
    """
    state, hs, cs = None, [], []
    for step in torch.split(x, 1):
        _, state = lstm.stream(step, state)
        hs.append(state.h)
        cs.append(state.c)
    h, c = torch.cat(hs), torch.cat(cs)
    previous_h = torch.cat([torch.zeros_like(h[:1]), h[:-1]])
    a_hh, a_ih = previous_h @ lstm.get_parameter("weight_hh_l0").T, x @ lstm.get_parameter("weight_ih_l0").T
    if lstm.bias_placement == "inside":
        a_hh = a_hh + lstm.get_parameter("bias_hh_l0")
        a_ih = a_ih + lstm.get_parameter("bias_ih_l0")
    hh, ih, cell = (assorted_time_norm(a, lstm.k or 1, eps=lstm.eps) for a in (a_hh, a_ih, c))
    return Normalized(hh, ih, cell, h)


class Curves(NamedTuple):
    """Mean and variance after a norm at steps 0, 1, ..., T - 1, averaged over the batch."""

    mean: list[float]
    variance: list[float]


class Statistics(Adding):
    """The adding problem without gain and shift, with the statistics of the norms' outputs at each training step."""

    affine: ClassVar[bool] = False

    def __init__(self, settings: StatisticsSettings, model: ModelName, device: torch.device) -> None:
        super().__init__(settings, model, device)
        self._measured: dict[str, Tensor] = {}

    def loss(self, step: int) -> Tensor:
        """Mean squared error of the training batch; the statistics of the batch are kept for `validation`."""
        x, _ = self.batch("train", step)
        with torch.no_grad():
            values = normalized(self.model.lstm, x.to(self.device))
        for norm, y in zip(NORMS, values, strict=False):
            variance, mean = torch.var_mean(y, dim=2, correction=0)
            self._measured |= {_key(norm, "mean", t): value for t, value in enumerate(mean.mean(1))}
            self._measured |= {_key(norm, "variance", t): value for t, value in enumerate(variance.mean(1))}
        return super().loss(step)

    def validation(self, step: int) -> dict[str, Tensor]:
        """Mean squared error of the validation set, and the statistics of the training batch before the update."""
        return {**super().validation(step), **self._measured}


def read_statistics(measured: Mapping[str, float]) -> Mapping[NormName, Curves]:
    """The curves of Figure 6 of one model, from the measurements at a step of its run."""
    steps = range(sum(name.startswith(_key("c", "mean", "")) for name in measured))
    return {
        norm: Curves(
            mean=[measured[_key(norm, "mean", t)] for t in steps],
            variance=[measured[_key(norm, "variance", t)] for t in steps],
        )
        for norm in NORMS
    }


def _key(norm: NormName, moment: Literal["mean", "variance"], t: int | str) -> str:
    return f"{norm} {moment} {t}"
