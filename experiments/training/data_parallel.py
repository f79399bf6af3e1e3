"""The loss of a step whose backward pass leaves every process with the gradients of the whole batch."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from experiments.training import distributed
from experiments.training.problem import Problem


class _Loss(nn.Module):
    """A problem's loss as a module, since that is what PyTorch wraps; the model itself keeps its names and methods."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.model = problem.model
        self._problem = problem

    def forward(self, step: int) -> Tensor:
        """Training loss of this process's share of the step's batch."""
        return self._problem.loss(step)


def shared_loss(problem: Problem) -> Callable[[int], Tensor]:
    """`problem.loss`, with gradients that are means over the processes; called by all of them."""
    return problem.loss if distributed.count() == 1 else DistributedDataParallel(_Loss(problem))
