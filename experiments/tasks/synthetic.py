"""The code that the synthetic tasks of section 4.1 share: settings, model, and batches drawn from the seed."""

import abc
import dataclasses
from typing import Any, ClassVar, Generic, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from experiments.models.recurrent_layer import RecurrenceSettings
from experiments.models.sequence_model import SequenceModel
from experiments.training.problem import Problem
from experiments.training.records.metrics import VALIDATION
from experiments.training.settings import ModelName, require_at_least

Split = Literal["train", "validation"]

SPLITS: tuple[Split, ...] = ("train", "validation")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SyntheticSettings(RecurrenceSettings):
    """Settings of every synthetic task; the docstring of a field gives the source of its value.

    Raises
    ------
    ValueError
        A size is below 1, the learning rate is negative, or k is None at a T for which the paper gives no k.
    """

    free: ClassVar[tuple[str, ...]] = ("T",)

    paper_k: ClassVar[dict[int, int]] = {}
    """The paper's k for each T."""

    T: int
    """Length of the task. Paper: 100 and 200."""

    batch: int
    """Sequences in a batch."""

    hidden: int
    """Hidden size of the one layer."""

    k: int | None
    """Window length of ATN. None for the paper's k at this T."""

    lr: float
    """Learning rate."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 1, "T", "batch", "hidden")
        require_at_least(self, 0, "lr")
        if self.k is None:
            self.check_no_k()
        else:
            require_at_least(self, 1, "k")

    def check_no_k(self) -> None:
        """Check that k may be None.

        Raises
        ------
        ValueError
            The paper gives no k for this T.
        """
        if self.T not in self.paper_k:
            known = ", ".join(map(str, self.paper_k))
            raise ValueError(f"k is not given; the paper has one for T = {known} and none for T = {self.T}")

    def standard(self, name: str) -> Any:
        """The value that replaces None in the field `name`: for k, the paper's k at this T."""
        return self.paper_k.get(self.T) if name == "k" else super().standard(name)

    def window(self) -> int:
        """Window length of ATN."""
        return self.paper_k[self.T] if self.k is None else self.k


S = TypeVar("S", bound=SyntheticSettings)


def generator(seed: int, split: Split, index: int) -> np.random.Generator:
    """Random generator of one batch. Its state depends on the seed, the split and the index alone."""
    return np.random.default_rng([seed, SPLITS.index(split), index])


class SyntheticProblem(Problem, Generic[S]):
    """Training problem of a synthetic task: the model, and batches that the seed determines.

    A subclass adds its optimizer and its batches. Step n uses the n-th training batch and the n-th validation batch.

    Attributes
    ----------
    affine : bool
        Whether the norms have gain and shift.

    Parameters
    ----------
    settings : SyntheticSettings
        Settings that determine every number of the run. Their seed seeds the global generator before the model is made.
    model : {"lstm", "ln", "atn", "detached"}
        Which model to train.
    device : torch.device
        Device of the model and of its data.
    input_size, output_size : int
        Number of features of the input and of the logits at each step.
    """

    affine: ClassVar[bool] = True
    model: SequenceModel

    def __init__(self, settings: S, model: ModelName, device: torch.device, input_size: int, output_size: int) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.device = device
        recurrence = settings.recurrence(model)._replace(affine=self.affine)
        network = SequenceModel(recurrence, input_size, settings.hidden, output_size)
        self.model = network.to(device)

    @abc.abstractmethod
    def batch(self, split: Split, step: int) -> tuple[Tensor, Tensor]:
        """Input (T_in, B, features) and target (T_out, B) of this step's batch, on the CPU."""

    def cost(self, x: Tensor, y: Tensor) -> Tensor:
        """Cross-entropy averaged over steps and cases, a scalar, of the classes y (T, B) given x (T, B, features)."""
        logits = self.model(x.to(self.device))
        return functional.cross_entropy(logits.flatten(0, 1), y.to(self.device).flatten())

    def loss(self, step: int) -> Tensor:
        """Cost, a scalar, of this process's share of the training batch of this step."""
        x, y = self.batch("train", step)
        return self.cost(self.share(x, 1), self.share(y, 1))

    def validation(self, step: int) -> dict[str, Tensor]:
        """Cost of the whole validation batch of this step."""
        return {VALIDATION: self.cost(*self.batch("validation", step))}
