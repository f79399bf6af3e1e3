"""The interface between a task and the trainer."""

import abc
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from experiments.training import distributed


class Problem(abc.ABC):
    """A task as the trainer sees it: a model, its optimizer, and the loss of any step.

    The losses of later steps depend only on the model, the optimizer and `state_dict`, which a checkpoint contains. A
    batch is drawn from the seed and its step only.

    If several processes train together, each takes its `share` of the whole batch in `loss`, which is a mean over the
    batch. In validation each process takes the whole batch. State for a share of the batch must be joined with `gather`
    in `state_dict` and shared again in `load_state_dict`, since another number of processes may continue the run.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    device: torch.device

    @abc.abstractmethod
    def loss(self, step: int) -> Tensor:
        """Training loss of this step's batch, a scalar."""

    @abc.abstractmethod
    def validation(self, step: int) -> Mapping[str, Tensor]:
        """Measurements by name, scalars, including `metrics.VALIDATION`, which the paper's tables report.

        Called with the model in evaluation mode and without gradients.
        """

    def update(self, step: int) -> None:  # noqa: ARG002 - for schedules that depend on it
        """Update the parameters by their gradients."""
        self.optimizer.step()

    def state_dict(self) -> dict[str, Tensor]:
        """State carried from step to step other than parameters and optimizer; empty for most tasks."""
        return {}

    def load_state_dict(self, carried: Mapping[str, Tensor]) -> None:
        """Restore the state that `state_dict` returned."""
        if carried:
            raise ValueError(f"carried has {', '.join(carried)}; it must be empty")

    def wait_for_device(self) -> None:
        """Wait for the device, so that the time between two calls is that of the work between them."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def share(self, tensor: Tensor, dim: int) -> Tensor:
        """The part of a whole batch for this process, along the dimension `dim`; all of it for a single process.

        Raises
        ------
        UsageError
            If the batch cannot be shared equally.
        """
        return distributed.share(tensor, dim)

    def gather(self, tensor: Tensor, dim: int) -> Tensor:
        """Join the shares of all processes along `dim`; all of them must call it."""
        return distributed.gather(tensor, dim)
