"""The interface between a task and the trainer."""

import abc
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from experiments.training import distributed


class Problem(abc.ABC):
    """What a task gives the trainer: a model, its optimizer, and the loss of any step.

    What the losses of the steps to come depend on is in the model, the optimizer and `state_dict`; all three are in a
    checkpoint. A batch is drawn from the seed and its step alone.

    Where several processes train together, each takes its `share` of the whole batch in `loss`, a mean over the batch.
    Validation is of the whole batch in each. What is carried for a share of the batch only has to be made whole with
    `gather` in `state_dict`, and `share`d again in `load_state_dict`: another number of processes may go on with it.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    device: torch.device

    @abc.abstractmethod
    def loss(self, step: int) -> Tensor:
        """Training loss of this step's batch, a scalar."""

    @abc.abstractmethod
    def validation(self, step: int) -> Mapping[str, Tensor]:
        """Scalars by name, among them `metrics.VALIDATION`, the one that the paper's tables have.

        Called with the model in evaluation mode and without gradients.
        """

    def update(self, step: int) -> None:  # noqa: ARG002 - for schedules that depend on it
        """Change the parameters by their gradients."""
        self.optimizer.step()

    def state_dict(self) -> dict[str, Tensor]:
        """What is carried from step to step beside parameters and optimizer; nothing, for most."""
        return {}

    def load_state_dict(self, carried: Mapping[str, Tensor]) -> None:
        """Go on with what `state_dict` gave."""
        if carried:
            raise ValueError(f"carried has {', '.join(carried)}; it must be empty")

    def share(self, tensor: Tensor, dim: int) -> Tensor:
        """Part of a whole batch for this process, along the batch dimension; all of it where there is a single process.

        Raises
        ------
        UsageError
            If the batch cannot be shared equally.
        """
        return distributed.share(tensor, dim)

    def gather(self, tensor: Tensor, dim: int) -> Tensor:
        """The whole of what each process has its share of; called by all of them."""
        return distributed.gather(tensor, dim)
