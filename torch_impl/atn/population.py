"""Population statistics of batch normalization for each time step, stored as `torch.nn.BatchNorm1d` stores them."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from atn.backend.custom_ops.differentiable import transform_is_active
from atn.choices import Base
from atn.validation import check_parameter, check_shape, is_default, probability, whole_number
from atn.window import StepStatistics


class PopulationStatistics(nn.BatchNorm1d):
    """Running mean and biased variance of each of the first S time steps.

    This subclass of `BatchNorm1d` stores statistics and is never called. Code that treats the batch norms of a model by
    their class (freezing, resetting or changing their momentum, as `torch.optim.swa_utils.update_bn` does) therefore
    treats these statistics too. The buffers are allocated once and updated in place.

    Parameters
    ----------
    num_features
        Number of features N.
    max_steps
        Number of time steps S with their own statistics.
    momentum
        Weight of a new batch in the running averages; None for the plain average over all batches.
    device, dtype
        Device and dtype of the buffers.

    Attributes
    ----------
    running_mean, running_var
        Statistics (S, N), zeros and ones until a batch reaches the step.
    num_batches_tracked
        Number of batches that reached each step, (S,), int64.
    """

    running_mean: Float[Tensor, "S N"]
    running_var: Float[Tensor, "S N"]
    num_batches_tracked: Int[Tensor, " S"]

    def __init__(
        self,
        num_features: int,
        max_steps: int,
        momentum: float | None,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__(num_features, momentum=momentum, affine=False, device=device, dtype=dtype)
        self.max_steps = max_steps
        shape = (max_steps, num_features)
        self.register_buffer("running_mean", torch.zeros(shape, device=device, dtype=dtype))
        self.register_buffer("running_var", torch.ones(shape, device=device, dtype=dtype))
        self.register_buffer("num_batches_tracked", torch.zeros(max_steps, device=device, dtype=torch.long))

    def at(self, start: int, end: int, dtype: torch.dtype) -> StepStatistics:
        """Statistics of the steps from `start` up to `end`, (end - start, N), for evaluation.

        A step that no batch has reached gets the statistics of the last step before it that one has, or else of the
        first that one has; if there is none, its own, which are zeros and ones unless they were set without counts.
        """
        reached = self.num_batches_tracked > 0
        own = torch.arange(len(reached), device=reached.device)
        before = torch.where(reached, own, -1).cummax(0).values
        row = torch.where(before < 0, torch.where(reached.any(), reached.long().argmax(), own), before)
        steps = row[torch.arange(start, end, device=row.device).clamp(max=len(row) - 1)]
        return StepStatistics(self.running_mean[steps].to(dtype), self.running_var[steps].to(dtype))

    @torch.no_grad()
    def update(self, start: int, batch: StepStatistics) -> None:
        """Update the averages with a batch's statistics (T, N) of the steps from `start` on, up to `max_steps`.

        The first batch that reaches a step replaces its statistics, as in the oracle's `update_population`.
        """
        steps = slice(start, start + batch.mean.shape[0])
        count = self.num_batches_tracked[steps].add_(1).unsqueeze(1)
        for running, news in ((self.running_mean, batch.mean), (self.running_var, batch.var)):
            old, new = running[steps], news[: count.shape[0]]
            counted = count.to(new.dtype)
            weight = 1 / counted if self.momentum is None else torch.full_like(counted, float(self.momentum))
            weight = weight.masked_fill(count == 1, 1)
            # Not old + weight * (new - old), which loses the new where the old is far larger.
            old.copy_(torch.where(weight == 1, new, (1 - weight) * old + weight * new))

    def extra_repr(self) -> str:
        """Sizes and momentum."""
        return f"{self.num_features}, max_steps={self.max_steps}, momentum={self.momentum}"


def population_steps(base: Base, max_steps: object, chosen: str) -> int | None:
    """The checked `max_steps` of a base with population statistics, None for any other base.

    `chosen` is the argument of the user that chose the base, as an error calls it.
    """
    if base == "batch":
        if max_steps is None:
            raise ValueError(
                f"max_steps must be an integer of at least 1 for {chosen}, the number of time steps with their own "
                "population statistics, got None"
            )
        return whole_number("max_steps", max_steps)
    if max_steps is not None:
        raise ValueError(
            f"max_steps must be left out for {chosen}, which has no population statistics, got {max_steps!r}"
        )
    return None


MOMENTUM = 0.1
"""Weight of a new batch in the running averages where the user does not choose one, as in `torch.nn.BatchNorm1d`."""


def check_no_momentum(base: Base, momentum: object) -> None:
    """Check that only a base with population statistics has another momentum than the default."""
    if base != "batch" and not is_default(momentum, MOMENTUM):
        raise ValueError(
            f"momentum must be left out for base={base!r}, which has no population statistics, got {momentum!r}"
        )


def checked_population(
    name: str, population: object, data_name: str, data: Float[Tensor, "T B N"], k: int, chosen: str
) -> PopulationStatistics:
    """`population`, after checking that no tool has replaced it or its buffers, and that the data have a variance.

    `chosen` is what an error calls the norm: the arguments that chose it.
    """
    if not isinstance(population, PopulationStatistics):
        raise TypeError(
            f"{name} must be the PopulationStatistics of {chosen}, got {type(population).__name__}: "
            "convert_sync_batchnorm cannot convert it"
        )
    _check_buffers(name, population, data_name, data)
    if population.momentum is not None:
        probability(f"{name}.momentum", population.momentum)
    if population.training and population.track_running_stats and transform_is_active():
        raise ValueError(
            f"{name} must not be updated inside a transform of torch.func or forward mode, which cannot follow an "
            f"update in place, got training=True: call eval(), or let {name}.track_running_stats be False to normalize "
            "by the batch alone"
        )
    if population.training and data.shape[1] == 0:
        raise ValueError(
            f"{data_name} must have at least 1 case for {chosen} in training, got shape {tuple(data.shape)}"
        )
    if population.training and k == data.shape[1] == 1:
        raise ValueError(
            f"{data_name} must have at least 2 cases for {chosen} with a window of one step in training, since the "
            f"variance of one value is 0, got shape {tuple(data.shape)}"
        )
    return population


def _check_buffers(name: str, population: PopulationStatistics, data_name: str, data: Float[Tensor, "T B N"]) -> None:
    """Check the buffers, which may have been replaced, or cast with the module: dtypes, shapes and devices."""
    tracked: object = population.num_batches_tracked
    if not isinstance(tracked, Tensor) or tracked.dtype != torch.long:
        got = tracked.dtype if isinstance(tracked, Tensor) else type(tracked).__name__
        raise TypeError(f"{name}.num_batches_tracked must be a tensor of int64, got {got}")
    check_shape(f"{name}.num_batches_tracked", tracked, (population.max_steps,), "(max_steps,)")
    shape = (population.max_steps, population.num_features)
    buffers = {"running_mean": population.running_mean, "running_var": population.running_var}
    for statistic, values in buffers.items():
        check_parameter(f"{name}.{statistic}", values, shape, "(max_steps, N)")
    for statistic, values in {**buffers, "num_batches_tracked": tracked}.items():
        if values.device != data.device:
            raise ValueError(f"{name}.{statistic} must be on {data_name}'s device {data.device}, got {values.device}")
