"""Statistics after the norms, section 5.2 of the paper: Figure 6.

One training iteration of the adding problem with T = 75, for LN and ATN of several k, without gains and shifts. At
each of the T steps there are three norms, of W_hh h, of W_ih x and of c; each has a mean and a variance over the
features of a case, of which the mean over the batch is kept.

Open in the paper, and chosen here:

- which iteration: the first one, so that the values are those of the initial parameters;
- over what the statistics are taken: over the features of a case, which is what LN makes constant, and then averaged;
- everything else is as for the adding problem, section 4.1.2.

The values are in the curve of the run, as what was measured at the step; `read_statistics` has them by norm.
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
from experiments.training.settings import ModelName, Part, PresetName

NAME = "statistics"

NormName = Literal["hh", "ih", "c"]

NORMS: tuple[NormName, ...] = ("hh", "ih", "c")
"""The norms of W_hh h, of W_ih x and of c: Figures 6a, 6b and 6c."""

WINDOWS: Mapping[PresetName, tuple[int, ...]] = {"paper": (5, 25, 55), "smoke": (2, 4, 8)}
"""Window lengths of ATN; section 5.2 has 5, 25 and 55."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StatisticsSettings(AddingSettings):
    """Settings of the adding problem; section 5.2 says T, k, and that there are no gains and shifts."""

    free: ClassVar[tuple[str, ...]] = ("k",)

    T: int
    """Numbers in a sequence. Paper: 75."""

    k: int | None
    """Window length of a single model, of which LN has 1. None: all of them, LN and ATN with `WINDOWS`."""

    def check_no_k(self) -> None:
        """None is all models, at any T."""


def _of_adding(settings: AddingSettings, T: int) -> StatisticsSettings:
    return StatisticsSettings(**{**dataclasses.asdict(settings), "T": T, "k": None, "steps": 1, "validate_every": 1})


PRESETS: Mapping[PresetName, StatisticsSettings] = {
    "paper": _of_adding(adding.PRESETS["paper"], 75),
    "smoke": _of_adding(adding.PRESETS["smoke"], 10),
}
"""Those of the adding problem with one iteration. No preset "released": the script of this is not published."""


def plan(preset: PresetName, settings: StatisticsSettings, models: Sequence[ModelName]) -> list[Part]:
    """Runs of the figure: LN, and ATN with each window length.

    Parameters
    ----------
    preset : {"paper", "smoke"}
        Which window lengths where the settings have None.
    settings : StatisticsSettings
        Of every run but for its k.
    models : sequence of {"lstm", "ln", "atn"}
        Those to run; the plain LSTM has no norms and no part in this.
    """
    windows = (1, *WINDOWS[preset]) if settings.k is None else (settings.k,)
    runs: list[tuple[ModelName, int]] = [("ln" if k == 1 else "atn", k) for k in windows]
    return [Part(NAME, model, dataclasses.replace(settings, k=k)) for model, k in runs if model in models]


class Normalized(NamedTuple):
    """What comes out of the three norms of a layer at every step, and what the layer makes of it."""

    hh: Tensor
    """ATN(W_hh h[t-1]), shape (T, B, 4H)."""
    ih: Tensor
    """ATN(W_ih x[t]), shape (T, B, 4H)."""
    c: Tensor
    """ATN(c[t]), shape (T, B, H)."""
    h: Tensor
    """The layer's output, shape (T, B, H)."""


def normalized(lstm: ATNLSTM, x: Tensor) -> Normalized:
    """Values after the norms, without gains and shifts, for input x (T, B, features) and a layer of LN or ATN.

    h and c are the layer's own, step by step; the norms are then those of the whole sequences, Eqs. (14)-(16).
    """
    state, hs, cs = None, [], []
    for step in torch.split(x, 1):
        _, state = lstm.stream(step, state)
        hs.append(state.h)
        cs.append(state.c)
    h, c = torch.cat(hs), torch.cat(cs)
    before = torch.cat([torch.zeros_like(h[:1]), h[:-1]])
    from_h, from_x = before @ lstm.get_parameter("weight_hh_l0").T, x @ lstm.get_parameter("weight_ih_l0").T
    if lstm.bias_placement == "inside":
        from_h = from_h + lstm.get_parameter("bias_hh_l0")
        from_x = from_x + lstm.get_parameter("bias_ih_l0")
    hh, ih, cell = (assorted_time_norm(a, lstm.k or 1, eps=lstm.eps) for a in (from_h, from_x, c))
    return Normalized(hh, ih, cell, h)


class Curves(NamedTuple):
    """Mean and variance after a norm at steps 0, 1, ..., T - 1, averaged over the batch."""

    mean: list[float]
    variance: list[float]


class Statistics(Adding):
    """The adding problem without gains and shifts, which at each training step looks at what its norms give."""

    affine: ClassVar[bool] = False

    def __init__(self, settings: StatisticsSettings, model: ModelName, device: torch.device) -> None:
        super().__init__(settings, model, device)
        self._measured: dict[str, Tensor] = {}

    def loss(self, step: int) -> Tensor:
        """Loss of the training batch, as of the adding problem; its statistics are kept for `validation`."""
        x, _ = self.batch("train", step)
        with torch.no_grad():
            values = normalized(self.model.lstm, x.to(self.device))
        for norm, y in zip(NORMS, values, strict=False):
            variance, mean = torch.var_mean(y, dim=2, correction=0)
            self._measured |= {_key(norm, "mean", t): value for t, value in enumerate(mean.mean(1))}
            self._measured |= {_key(norm, "variance", t): value for t, value in enumerate(variance.mean(1))}
        return super().loss(step)

    def validation(self, step: int) -> dict[str, Tensor]:
        """Validation loss, as of the adding problem, and the statistics of the training batch before the update."""
        return {**super().validation(step), **self._measured}


def read_statistics(measured: Mapping[str, float]) -> Mapping[NormName, Curves]:
    """The curves of Figure 6 of one model, from what was measured at a step of its run."""
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
