"""Character-level Penn Treebank, section 4.2.1 of the paper: Table 4.

A model with one recurrent layer predicts the next character. All losses are in nats; `bits_per_character` converts
them to the paper's unit. A validation measures two losses: ``validation``, for which every window begins with an empty
state as in the released code, and ``validation_carried``, for which the state is carried through the whole text.

The paper and its released script differ. The paper has 1,000 units, fixed windows of 220 characters, k = 10, and a
learning rate that is divided by 10 at epochs 80 and 90. The script has 200 units, because its tied weights require a
layer as large as the embedding; it draws the lengths of the windows, has k = 20, keeps the learning rate, and never
uses the carried state.

The preset "normprop" has the settings of another paper, *Recurrent Normalization Propagation* (Laurent, Ballas, Vincent
2017), section 4.1, at a reduced size. That paper compares the plain LSTM with weight normalization, recurrent batch
normalization, LN and Norm-Prop, the models lstm, wn, bn, ln and prop.
"""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from experiments.datasets.penn import character_corpus
from experiments.tasks.language import LanguageProblem, LanguageSettings, generated_corpus
from experiments.training.records.metrics import VALIDATION
from experiments.training.settings import ModelName, PresetName, require_at_least

NAME = "char-ptb"

VALIDATION_CARRIED = "validation_carried"
"""Name of the validation loss with the state carried through the text."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CharPtbSettings(LanguageSettings):
    """Settings of character-level Penn Treebank; the docstring of a field gives the source of its value.

    The sources of the fields that every language model has are these. `bptt` is 220, `lr` 1e-2 and `clip` 3 in the
    paper and in the script. `k` is 10 in the paper and 20 in the script. `vary_bptt` is on in the script only; the
    paper has subsequences of 220 characters. `carry` is off in the script, which never uses the state, and on in the
    preset "paper", because the paper bases the experiment on AWD-LSTM, which carries its state. `embedding` is 200 in
    the script and open in the paper. `tied` is on in the script, and off in the preset "paper", where embedding and
    layer differ in size.
    """

    hidden: int
    """Hidden size of the one layer. Paper: 1,000; the released script has 200."""

    drops: tuple[int, ...]
    """Numbers of epochs after which the learning rate is divided by 10. Paper: 80 and 90; none in the released
    script."""

    decay: float = 0.0
    """Rate by which the learning rate falls exponentially with the epochs. 1e-3 in the paper on Norm-Prop, which does
    not say per what. Per step, the learning rate would have fallen by exp(-39) after its 50 epochs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 1, "hidden")
        require_at_least(self, 0, "decay")

    def layers(self) -> tuple[int, ...]:
        """Hidden size of the one layer."""
        return (self.hidden,)


PAPER = CharPtbSettings(
    # The paper gives no number of epochs, but reduces the learning rate after 80 and 90. These are 100 epochs of 713
    # windows each, with a validation at the end of each epoch.
    steps=100 * 713,
    seed=1111,  # the released script's
    validate_every=713,
    corpus="real",
    batch=32,
    eval_batch=10,
    bptt=220,
    vary_bptt=False,
    carry=True,
    embedding=200,
    hidden=1000,
    tied=False,
    k=10,
    lr=1e-2,
    drops=(80, 90),
    clip=3.0,
    eps=1e-5,
    bias_placement="inside",
    init="paper",
    lstm_init="torch",
)
"""The settings that the text of the paper gives."""

RELEASED = dataclasses.replace(
    PAPER,
    # The script's 150 epochs, of about 733 windows each.
    steps=150 * 733,
    validate_every=733,
    vary_bptt=True,
    carry=False,
    hidden=200,
    tied=True,
    k=20,
    drops=(),
)
"""The settings of the released script."""

BUDGET = dataclasses.replace(
    PAPER,
    # A fifth of the paper's width, and eight epochs: at most half an hour on one core. The learning rate stays what it
    # is for the first 80 of the paper's epochs.
    steps=8 * 713,
    hidden=200,
)
"""The paper's settings at a reduced size."""

NORMPROP = dataclasses.replace(
    PAPER,
    # The paper has 1,000 units and about 50 epochs: this is a model of an eighth of the width and one epoch of 783
    # windows, at which every loss still falls.
    steps=783,
    seed=0,
    validate_every=261,
    batch=64,
    eval_batch=64,  # open
    bptt=100,
    carry=False,
    random_start=True,
    embedding=50,
    inputs="orthogonal",
    # The paper names no factor. With this one each feature of a one-hot input has mean square 1, as its Eqs. (8)-(12)
    # assume; with 1 it would have 1/50, and the preactivations half of their deviation.
    input_scale=math.sqrt(50),
    hidden=128,
    k=10,  # of the paper on ATN, since this one has no ATN
    lr=2e-3,
    drops=(),
    decay=1e-3,
    clip=1.0,
    bias_placement="outside",
    init="orthogonal",
    lstm_init="orthogonal",
)
"""The settings of the paper on Norm-Prop, at reduced size."""

SMOKE = dataclasses.replace(
    PAPER,
    steps=60,
    validate_every=20,
    corpus="generated",
    batch=4,
    eval_batch=2,
    bptt=20,
    vary_bptt=True,
    embedding=8,
    hidden=16,
    k=3,
    drops=(2,),
)
"""Small sizes that run all of the code in seconds, without data; the losses mean nothing."""

PRESETS: Mapping[PresetName, CharPtbSettings] = {
    "paper": PAPER,
    "released": RELEASED,
    "normprop": NORMPROP,
    "budget": BUDGET,
    "smoke": SMOKE,
}


def bits_per_character(loss: float) -> float:
    """Convert a loss in nats to the unit of Table 4: ``loss / ln 2``."""
    return loss / math.log(2)


class CharPtb(LanguageProblem):
    """Training problem: the model, its optimizer, and the validation.

    Parameters
    ----------
    settings : CharPtbSettings
        Settings that determine every number of the run.
    model : {"lstm", "ln", "atn", "prop", "wn", "bn"}
        Which model to train. For "prop" the rows of the weights are brought back to length 1 after each step.
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
        self, settings: CharPtbSettings, model: ModelName, device: torch.device, data_dir: Path | None = None
    ) -> None:
        corpus = character_corpus(data_dir) if settings.corpus == "real" else generated_corpus()
        super().__init__(settings, model, device, corpus)
        self.drops, self.decay = settings.drops, settings.decay
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=settings.lr)
        if model == "prop":
            self.optimizer.register_step_post_hook(lambda *_: self.model.project_rows_())

    def learning_rate(self, step: int) -> float:
        """Learning rate of a step: it decays, and is divided by 10 for each epoch in `drops` that has passed."""
        epoch = self.windows.of(step).epoch
        decayed = super().learning_rate(step) * math.exp(-self.decay * epoch)
        return decayed * math.pow(0.1, sum(epoch >= drop for drop in self.drops))

    def validation(self, step: int) -> dict[str, Tensor]:  # noqa: ARG002 - the whole text every time
        """Mean cross-entropy of the validation text: with an empty state for each window, and with the carried state.

        A model that carries no state has the first alone.
        """
        empty = {VALIDATION: self.evaluate(self.model, "validation", carry=False)}
        if not self.model.carries:
            return empty
        return {**empty, VALIDATION_CARRIED: self.evaluate(self.model, "validation", carry=True)}
