"""Statistics of the batch: recurrent batch normalization (Cooijmans et al. 2017), and ATN-BN of Eqs. (7)-(9).

While training a step is normalized by mean and variance over the cases, and over the last k steps for ATN-BN; each site
keeps running averages of them for each of the first `max_steps` time steps, which evaluation uses.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from atn.backend.cell import Cell, CellOutput, Layer
from atn.backend.interface import BatchSettings
from atn.initialization import start_anew
from atn.norms.gain_shift import GainShift
from atn.norms.interface import SITES, NormArguments, RecurrentNorm, affine_gammas
from atn.population import PopulationStatistics, checked_population, population_steps
from atn.state import StreamOrigin
from atn.validation import epsilon, probability

GAMMA = 0.1
"""Start of every gain of recurrent batch normalization (Cooijmans et al. 2017, section 4): 1 saturates the gates."""


class BatchSite(nn.Module):
    """Gain `weight` and shift `bias`, (N,) each or None, and the statistics of the `population`."""

    def __init__(self, population: PopulationStatistics, affine: GainShift | None) -> None:
        super().__init__()
        self.register_parameter("weight", None if affine is None else affine.weight)
        self.register_parameter("bias", None if affine is None else affine.bias)
        self.start = None if affine is None else affine.start
        self.population = population

    def reset_parameters(self) -> None:
        """Set the gain to its start and the shift to 0, and forget the population statistics."""
        if self.start is not None:
            start_anew(self, "weight", partial(Tensor.fill_, value=self.start))
            start_anew(self, "bias", nn.init.zeros_)
        self.population.reset_running_stats()


@dataclass(frozen=True)
class BatchStatistics(RecurrentNorm):
    """Recurrent batch normalization, a window of one step, or ATN-BN."""

    takes: ClassVar[frozenset[str]] = frozenset({"eps", "affine", "bias_placement", "gamma", "max_steps", "momentum"})
    couples_cases: ClassVar[bool] = True

    name: str
    steps: int
    max_steps: int | None
    momentum: float | None

    @classmethod
    def checked(cls, arguments: NormArguments) -> Self:
        """Settings of recurrent batch normalization."""
        gamma = GAMMA if arguments.gamma is None and arguments.affine else arguments.gamma
        return cls.of(arguments._replace(gamma=gamma, base="batch"), "norm='bn'", None, 1)

    @classmethod
    def of(cls, arguments: NormArguments, name: str, k: int | None, steps: int) -> Self:
        """Settings with a window of so many steps, which the user chose if k is not None."""
        momentum = arguments.momentum
        return cls(
            k=k,
            eps=epsilon(arguments.eps),
            affine=arguments.affine,
            bias_placement=arguments.bias_placement,
            gamma=affine_gammas(arguments),
            name=name,
            steps=steps,
            max_steps=population_steps("batch", arguments.max_steps, name),
            momentum=None if momentum is None else probability("momentum", momentum),
        )

    @property
    def eager_only(self) -> str:
        """It couples the cases, which no kernel does."""
        return self.name

    def site(self, name: str, features: int, device: torch.device | str | None, dtype: torch.dtype | None) -> BatchSite:
        """Gain and shift, if the norm is affine, and the population statistics."""
        assert self.max_steps is not None  # noqa: S101 - base "batch" has them
        population = PopulationStatistics(features, self.max_steps, self.momentum, device, dtype)
        start = self.gamma[SITES.index(name)]
        return BatchSite(population, GainShift(features, start, device, dtype) if self.affine else None)

    def check(self, layer: Layer, data: Tensor) -> None:
        """Check the population statistics: no layer takes a batch in that a later one refuses."""
        for name, site in layer.sites.items():
            population = f"{name}_{layer.suffix}.population"
            checked_population(population, site.population, "input", data, self.steps, self.name)

    def run(
        self,
        cell: Cell,
        x: Tensor,
        layer: Layer,
        states: tuple[Tensor, ...],
        memory: Any,
    ) -> CellOutput:
        """Run by the statistics of the batch, and take them in; or by those of the population."""
        populations: list[Any] = [site.population for site in layer.sites.values()]
        given = tuple(None if found.training else found.at(0, x.shape[0], x.dtype) for found in populations)
        settings = BatchSettings(self.steps, self.eps, self.bias_placement, given)
        out = cell.run(x, layer.weights, states, memory, settings)
        for population, used in zip(populations, out.memory, strict=True):
            if population.training and population.track_running_stats:
                population.update(0, used)
        return CellOutput(out.states, None)

    def origin(self) -> StreamOrigin:
        """No stream has such a norm."""
        return StreamOrigin(self.name, self.k, self.eps, self.bias_placement)
