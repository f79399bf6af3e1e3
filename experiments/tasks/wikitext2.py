"""Word-level WikiText-2, section 4.2.2 of the paper: Table 5.

AWD-LSTM (Merity, Keskar, Socher 2018) with ATN: three layers, tied weights, its five dropouts, and its penalties on
large and on quickly changing outputs. Trained by SGD until the validation loss is worse than the best of all but the
last few validations, and from then on with an average of the parameters, which is then what is measured (in
AWD-LSTM: "NT-ASGD"). All losses are in nats; `perplexity` makes the paper's unit of them.

The paper says what it changed of AWD-LSTM and nothing of the rest; there is no released script. What it does not say is
as in the command that AWD-LSTM's README gives for WikiText-2.
"""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from experiments.datasets.wikitext import word_corpus
from experiments.models.awd_lstm import Dropout, LanguageModel
from experiments.tasks.language import LanguageProblem, LanguageSettings, generated_corpus
from experiments.training.metrics import VALIDATION
from experiments.training.settings import ModelName, PresetName, require_at_least

TEST = "test"
"""Name of the loss on the test text."""

AVERAGED = "averaged"
"""Name of whether the averaged parameters were measured: 1 or 0."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class WikiText2Settings(LanguageSettings):
    """Settings of WikiText-2; each field says where its value comes from.

    Of those that every language model has: `bptt` is 70, `embedding` 400, `k` 25, `lr` 30 and `clip` 0.25 in the paper;
    `vary_bptt`, `carry` and `tied` are on in AWD-LSTM, open in the paper.
    """

    hidden: int
    """Hidden size of the layers but the last, which is as large as the embedding. Paper: 1,150."""

    depth: int
    """Number of layers. Paper: 3."""

    nonmono: int
    """Validations that the criterion does not look back to. Paper: 5."""

    weight_decay: float
    """Factor of the parameters in their gradients. Open in the paper; 1.2e-6 as in AWD-LSTM."""

    dropout_words: float
    """Probability of taking a word out of the table. Open in the paper; 0.1 as in AWD-LSTM."""

    dropout_inputs: float
    """Probability of taking out a feature of the input. Open in the paper; 0.65 as in AWD-LSTM."""

    dropout_between: float
    """Probability of taking out a feature between layers. Open in the paper; 0.2 as in AWD-LSTM for this text."""

    dropout_output: float
    """Probability of taking out a feature of the last output. Open in the paper; 0.4 as in AWD-LSTM."""

    dropout_weights: float
    """Probability of taking out an entry of W_hh. Open in the paper; 0.5 as in AWD-LSTM."""

    activation: float
    """Weight of the mean square of the last output after dropout, which is added to the loss. Open in the paper; 2 as
    in AWD-LSTM."""

    slowness: float
    """Weight of the mean square of the last output's change from step to step. Open in the paper; 1 as in AWD-LSTM."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 1, "hidden", "depth", "nonmono")
        require_at_least(self, 0, "weight_decay", "activation", "slowness")
        for name in ("words", "inputs", "between", "output", "weights"):
            value = getattr(self, f"dropout_{name}")
            if not 0 <= value < 1:
                raise ValueError(f"dropout_{name} is {value}; it must be at least 0 and below 1")

    def layers(self) -> tuple[int, ...]:
        """Hidden sizes, the last of them that of the embedding."""
        return (*[self.hidden] * (self.depth - 1), self.embedding)

    def dropout(self) -> Dropout:
        """Probabilities of the dropouts."""
        return Dropout(
            self.dropout_words,
            self.dropout_inputs,
            self.dropout_between,
            self.dropout_output,
            self.dropout_weights,
        )


PAPER = WikiText2Settings(
    # The paper names no number of epochs but a switch to averaging between 20 and 30: 100 of about 957 windows each,
    # validated once an epoch.
    steps=100 * 957,
    seed=1882,  # that of AWD-LSTM's command for this text
    validate_every=957,
    corpus="real",
    batch=32,
    eval_batch=10,
    bptt=70,
    vary_bptt=True,
    carry=True,
    embedding=400,
    hidden=1150,
    depth=3,
    tied=True,
    k=25,
    lr=30.0,
    clip=0.25,
    nonmono=5,
    weight_decay=1.2e-6,
    dropout_words=0.1,
    dropout_inputs=0.65,
    dropout_between=0.2,
    dropout_output=0.4,
    dropout_weights=0.5,
    activation=2.0,
    slowness=1.0,
    eps=1e-5,
    bias_placement="inside",
    init="paper",
    lstm_init="torch",
)
"""What the text of the paper says."""

RELEASED = dataclasses.replace(PAPER, steps=750 * 383, validate_every=383, batch=80)
"""There is no released script of this experiment: AWD-LSTM's own batch of 80 and its 750 epochs, of about 383 windows
each, with the paper's layers."""

SMOKE = dataclasses.replace(
    PAPER,
    steps=40,
    validate_every=8,
    corpus="generated",
    batch=4,
    eval_batch=4,
    bptt=10,
    # Large enough that no column loses all its features: constant rows have gradients without bound.
    embedding=32,
    hidden=12,
    k=3,
    lr=5.0,
    nonmono=1,
)
"""All of the code in seconds and without data; its numbers mean nothing."""

PRESETS: Mapping[PresetName, WikiText2Settings] = {"paper": PAPER, "released": RELEASED, "smoke": SMOKE}


def perplexity(loss: float) -> float:
    """The unit of Table 5, from a loss in nats: ``exp(loss)``."""
    return math.exp(loss)


class WikiText2(LanguageProblem):
    """The problem as the trainer sees it.

    Parameters
    ----------
    settings : WikiText2Settings
        All that decides the numbers.
    model : {"lstm", "ln", "atn"}
        Which model to train.
    device : torch.device
        Where to.
    data_dir : Path, optional
        Folder of the data sets; by default the one that ``ATN_DATA_DIR`` names, or else a download.

    Raises
    ------
    ExperimentError
        If the text is missing or damaged.
    """

    def __init__(
        self, settings: WikiText2Settings, model: ModelName, device: torch.device, data_dir: Path | None = None
    ) -> None:
        corpus = word_corpus(data_dir) if settings.corpus == "real" else generated_corpus()
        super().__init__(settings, model, device, corpus)
        self.criterion = settings.nonmono
        self.penalties = settings.activation, settings.slowness
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
        self.history: list[float] = []
        """Validation losses before averaging began."""
        self.average: AveragedModel | None = None
        """Mean of the parameters since averaging began."""

    def loss(self, step: int) -> Tensor:
        """Mean cross-entropy in nats, a scalar, of this step's window; the penalties are in its gradient alone."""
        loss, reading = self.read(step)
        activation, slowness = self.penalties
        change = reading.hidden[1:] - reading.hidden[:-1]
        penalty = activation * reading.output.square().mean() + slowness * change.square().mean()
        return loss + (penalty - penalty.detach())

    def update(self, step: int) -> None:
        """Make the step, and take the new parameters into the average where there is one."""
        super().update(step)
        if self.average is not None:
            self.average.update_parameters(self.model)

    def validation(self, step: int) -> dict[str, Tensor]:  # noqa: ARG002 - the whole texts every time
        """Mean cross-entropy of the validation and the test text; averaging may begin by what is found."""
        measured = {
            VALIDATION: self.evaluate(self._measured, "validation", carry=self.settings.carry),
            TEST: self.evaluate(self._measured, "test", carry=self.settings.carry),
            AVERAGED: torch.tensor(float(self.average is not None)),
        }
        if self.average is None:
            self._judge(measured[VALIDATION].item())
        return measured

    @property
    def _measured(self) -> LanguageModel:
        """The averaged model where there is one."""
        if self.average is None:
            return self.model
        return cast("LanguageModel", self.average.module)

    def _judge(self, loss: float) -> None:
        """Begin to average where the loss is worse than the best of all but the last few."""
        if len(self.history) > self.criterion and loss > min(self.history[: -self.criterion]):
            self._begin_to_average()
        self.history.append(loss)

    def _begin_to_average(self) -> AveragedModel:
        self.average = AveragedModel(self.model)
        self.average.eval()
        return self.average

    def state_dict(self) -> dict[str, Tensor]:
        """The states, the validation losses, and the average where there is one."""
        carried = super().state_dict() | {"history": torch.tensor(self.history, dtype=torch.float64)}
        if self.average is not None:
            carried |= {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        return carried

    def load_state_dict(self, carried: Mapping[str, Tensor]) -> None:
        """Go on with what `state_dict` gave.

        Raises
        ------
        ValueError
            If it is not of this model.
        """
        rest = dict(carried)
        self.history = rest.pop("history", torch.zeros(0)).tolist()
        average = {name.removeprefix("average."): rest.pop(name) for name in carried if name.startswith("average.")}
        if average:
            self._begin_to_average().load_state_dict(average)
        super().load_state_dict(rest)
