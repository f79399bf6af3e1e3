"""How important each step is to a classifier of two classes, by three measures."""

from typing import Literal, get_args

import torch
from torch import Tensor

from experiments.related.neuroview.classifiers import Classifier

Measure = Literal["contributions", "weights", "inputs"]
MEASURES: tuple[Measure, ...] = get_args(Measure)


@torch.enable_grad()
def importance(classifier: Classifier, x: Tensor, labels: Tensor) -> dict[Measure, Tensor]:
    """Shares (T,) of the steps by each measure; each sums to 1.

    The margin is the logit of class 1 less that of class 0.

    - "contributions": by how much the mean contribution to the margin differs between cases of the two classes.
    - "weights": the length of the weights of the margin, |W[1, t] - W[0, t]|, the paper's measure.
    - "inputs": the mean over the cases of the size of the margin's derivative in the input of the step.

    Parameters
    ----------
    classifier : Classifier
        With a head of weights of their own for every step.
    x : Tensor (T, B, I)
    labels : Tensor (B,), 0 or 1
    """
    x = x.detach().requires_grad_()
    h, _ = classifier.lstm(x)
    s = margin_contributions(classifier, h)
    (slopes,) = torch.autograd.grad(s.sum(), x)
    weight = classifier.head.get_parameter("weight").detach()
    found = s.detach()
    return {
        "contributions": _shares(found[labels == 1].mean(0) - found[labels == 0].mean(0)),
        "weights": _shares((weight[1] - weight[0]).norm(dim=1)),
        "inputs": _shares(slopes.norm(dim=2).mean(1)),
    }


def margin_contributions(classifier: Classifier, h: Tensor) -> Tensor:
    """What each step adds to the margin, (B, T), from hidden states (T, B, H)."""
    s: Tensor = classifier.head.contributions(h)  # type: ignore[operator]  # a method of PerStepReadout
    return s[:, 1] - s[:, 0]


def _shares(values: Tensor) -> Tensor:
    return values.abs() / values.abs().sum()
