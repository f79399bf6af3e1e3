"""Word-level WikiText-2, section 4.2.2 of the paper: Table 5.

The model is AWD-LSTM (Merity, Keskar, Socher 2018) with ATN: three layers, tied weights, five kinds of dropout, and
penalties on large outputs and on quickly changing outputs. The optimizer is SGD. Averaging of the parameters begins at
the first validation whose loss is worse than the best loss before the last few validations (NT-ASGD in AWD-LSTM); from
then on validations measure the averaged parameters. All losses are in nats; `perplexity` converts them to the paper's
unit.

The paper gives only its changes to AWD-LSTM, and there is no released script. The other settings are those of the
command that AWD-LSTM's README gives for WikiText-2.
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
from experiments.training.records.metrics import VALIDATION
from experiments.training.settings import ModelName, PresetName, require_at_least

NAME = "wikitext2"

TEST = "test"
"""Name of the loss on the test text."""

AVERAGED = "averaged"
"""Name of the value that tells whether the averaged parameters were measured: 1 or 0."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class WikiText2Settings(LanguageSettings):
    """Settings of WikiText-2; the docstring of a field gives the source of its value.

    The sources of the fields that every language model has are these. `bptt` is 70, `embedding` 400, `k` 25, `lr` 30
    and `clip` 0.25 in the paper. `vary_bptt`, `carry` and `tied` are open in the paper and on in AWD-LSTM.
    """

    hidden: int
    """Hidden size of every layer except the last, whose size is that of the embedding. Paper: 1,150."""

    depth: int
    """Number of layers. Paper: 3."""

    nonmono: int
    """Number of last validations that the criterion for averaging leaves out. Paper: 5."""

    weight_decay: float
    """Weight decay of SGD. Open in the paper; 1.2e-6 as in AWD-LSTM."""

    dropout_words: float
    """Probability of dropping a word of the embedding matrix. Open in the paper; 0.1 as in AWD-LSTM."""

    dropout_inputs: float
    """Probability of dropping a feature of the first layer's input. Open in the paper; 0.65 as in AWD-LSTM."""

    dropout_between: float
    """Probability of dropping a feature between layers. Open in the paper; 0.2 as in AWD-LSTM for this text."""

    dropout_output: float
    """Probability of dropping a feature of the last layer's output. Open in the paper; 0.4 as in AWD-LSTM."""

    dropout_weights: float
    """Probability of dropping an entry of W_hh. Open in the paper; 0.5 as in AWD-LSTM."""

    activation: float
    """Weight of the penalty on the mean square of the last layer's output after dropout. Open in the paper; 2 as in
    AWD-LSTM."""

    slowness: float
    """Weight of the penalty on the mean square of the change of the last layer's output from step to step. Open in the
    paper; 1 as in AWD-LSTM."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 1, "hidden", "depth", "nonmono")
        require_at_least(self, 0, "weight_decay", "activation", "slowness")
        for name in ("words", "inputs", "between", "output", "weights"):
            value = getattr(self, f"dropout_{name}")
            if not 0 <= value < 1:
                raise ValueError(f"dropout_{name} is {value}; it must be at least 0 and below 1")

    def layers(self) -> tuple[int, ...]:
        """Hidden size of each layer; the last one is the size of the embedding."""
        return (*[self.hidden] * (self.depth - 1), self.embedding)

    def dropout(self) -> Dropout:
        """Dropout probabilities."""
        return Dropout(
            self.dropout_words,
            self.dropout_inputs,
            self.dropout_between,
            self.dropout_output,
            self.dropout_weights,
        )


PAPER = WikiText2Settings(
    # The paper gives no number of epochs, but says that averaging begins between epochs 20 and 30. These are 100 epochs
    # of about 957 windows each, with a validation at the end of each epoch.
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
"""The settings that the text of the paper gives. The script of this experiment is not published; AWD-LSTM's command for
this text has a batch of 80 and 750 epochs."""

BUDGET = dataclasses.replace(
    PAPER,
    # A sixth of the paper's width, a quarter of its embedding, on which the cost of 33,278 words depends, and three
    # epochs: an hour on one core, measured at 1.1 s a step before any run had ended. Dropout is the paper's.
    steps=3 * 957,
    embedding=100,
    hidden=200,
)
"""The paper's settings at a reduced size."""

SMOKE = dataclasses.replace(
    PAPER,
    steps=40,
    validate_every=8,
    corpus="generated",
    batch=4,
    eval_batch=4,
    bptt=10,
    # Large enough that dropout never removes all features of a column: a constant row has very large gradients.
    embedding=32,
    hidden=12,
    k=3,
    lr=5.0,
    nonmono=1,
)
"""Small sizes that run all of the code in seconds, without data; the losses mean nothing."""

PRESETS: Mapping[PresetName, WikiText2Settings] = {"paper": PAPER, "budget": BUDGET, "smoke": SMOKE}


def perplexity(loss: float) -> float:
    """Convert a loss in nats to the unit of Table 5: ``exp(loss)``."""
    return math.exp(loss)


class WikiText2(LanguageProblem):
    """Training problem: the model, its optimizer, the averaging, and the validation.

    Parameters
    ----------
    settings : WikiText2Settings
        Settings that determine every number of the run.
    model : {"lstm", "ln", "atn"}
        Which model to train.
    device : torch.device
        Device of the model and of its data.
    data_dir : Path, optional
        Folder of the data sets. By default it is the one that ``ATN_DATA_DIR`` names; without that the data are
        downloaded.

    Raises
    ------
    ExperimentError
        The text is missing or damaged.
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
        """Mean cross-entropy in nats, a scalar, of this step's window; the penalties change its gradient only."""
        loss, reading = self.read(step)
        activation, slowness = self.penalties
        change = reading.hidden[1:] - reading.hidden[:-1]
        penalty = activation * reading.output.square().mean() + slowness * change.square().mean()
        return loss + (penalty - penalty.detach())

    def update(self, step: int) -> None:
        """Take an optimizer step and, once averaging has begun, add the new parameters to the average."""
        super().update(step)
        if self.average is not None:
            self.average.update_parameters(self.model)

    def validation(self, step: int) -> dict[str, Tensor]:  # noqa: ARG002 - the whole texts every time
        """Mean cross-entropy of the validation and the test text; decides whether averaging begins."""
        measured = {
            VALIDATION: self.evaluate(self._measured, "validation", carry=self.settings.carry),
            TEST: self.evaluate(self._measured, "test", carry=self.settings.carry),
            AVERAGED: torch.tensor(float(self.average is not None)),
        }
        if self.average is None:
            self._check_criterion(measured[VALIDATION].item())
        return measured

    @property
    def _measured(self) -> LanguageModel:
        """The averaged model once averaging has begun, and otherwise the model itself."""
        if self.average is None:
            return self.model
        return cast("LanguageModel", self.average.module)

    def _check_criterion(self, loss: float) -> None:
        """Begin to average if the loss is worse than the best one before the last `nonmono` validations."""
        if len(self.history) > self.criterion and loss > min(self.history[: -self.criterion]):
            self._begin_to_average()
        self.history.append(loss)

    def _begin_to_average(self) -> AveragedModel:
        self.average = AveragedModel(self.model)
        self.average.eval()
        return self.average

    def state_dict(self) -> dict[str, Tensor]:
        """The states, the validation losses, and the averaged parameters once averaging has begun."""
        carried = super().state_dict() | {"history": torch.tensor(self.history, dtype=torch.float64)}
        if self.average is not None:
            carried |= {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        return carried

    def load_state_dict(self, carried: Mapping[str, Tensor]) -> None:
        """Restore what `state_dict` returned.

        Raises
        ------
        ValueError
            An entry does not belong to this model.
        """
        rest = dict(carried)
        self.history = rest.pop("history", torch.zeros(0)).tolist()
        average = {name.removeprefix("average."): rest.pop(name) for name in carried if name.startswith("average.")}
        if average:
            self._begin_to_average().load_state_dict(average)
        super().load_state_dict(rest)
