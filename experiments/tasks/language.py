"""What both language-model tasks share: their settings, the training on windows of a text, and the evaluation."""

import abc
import dataclasses
from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from experiments.common.errors import UsageError
from experiments.datasets.generated import generated_tokens
from experiments.datasets.text import Corpus, Split, columns
from experiments.models.awd_lstm import Dropout, LanguageModel, Reading, States, flatten, unflatten
from experiments.models.recurrent_layer import RecurrenceSettings
from experiments.tasks.text_windows import Window, Windows
from experiments.training.problem import Problem
from experiments.training.settings import ModelName, require_at_least


@dataclasses.dataclass(frozen=True, kw_only=True)
class LanguageSettings(RecurrenceSettings):
    """Settings of every language model; the docstring of a field gives the source of its value.

    Raises
    ------
    ValueError
        A size is below 1, a window is shorter than two words, or a learning rate or a norm is negative.
    """

    corpus: Literal["real", "generated"]
    """Text to train on: the corpus of the paper, or a small generated one whose losses mean nothing."""

    batch: int
    """Batch size: number of columns that the training text is cut into. Paper: 32."""

    eval_batch: int
    """Batch size of the validation and the test text. Open in the paper; 10 as in the released script."""

    bptt: int
    """Words in a window; gradients flow through one window (truncated backpropagation through time)."""

    vary_bptt: bool
    """Whether the window lengths are drawn at random around `bptt`; the learning rate of a step is then multiplied by
    the length of its window divided by `bptt`."""

    carry: bool
    """Whether a window begins with the final state of the window before it, including the memories of the norms. If
    not, every window begins with an empty state."""

    embedding: int
    """Size of the embedding of a word."""

    tied: bool
    """Whether the decoder uses the embedding matrix as its weights."""

    k: int
    """Window length of ATN."""

    lr: float
    """Learning rate."""

    clip: float
    """Largest norm of the gradient."""

    random_start: bool = False
    """Whether every window of every column begins at a place of its own in the text, drawn anew for each step. If not,
    the columns are read from beginning to end."""

    inputs: Literal["trained", "orthogonal"] = "trained"
    """Embedding of the words: trained with the model, or a fixed orthogonal matrix as large as the vocabulary."""

    input_scale: float = 1.0
    """Factor of the orthogonal matrix; a trained embedding does not use it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 1, "batch", "eval_batch", "embedding", "k")
        require_at_least(self, 2, "bptt")
        require_at_least(self, 0, "lr", "clip")

    def window(self) -> int:
        """Window length of ATN."""
        return self.k

    def max_steps(self) -> int:
        """Number of time steps for which BN keeps population statistics: the words of a window."""
        return self.bptt

    @abc.abstractmethod
    def layers(self) -> tuple[int, ...]:
        """Hidden size of each layer."""

    def dropout(self) -> Dropout:
        """Dropout probabilities, all 0 unless the settings of a task define them."""
        return Dropout()


def generated_corpus() -> Corpus:
    """A small text that follows a simple rule, for trying the code without data."""
    sizes: dict[Split, int] = {"train": 3000, "validation": 400, "test": 300}
    tokens = {split: generated_tokens(size, 12, seed=size) for split, size in sizes.items()}
    return Corpus(tokens, 12)


class LanguageProblem(Problem):
    """Training problem of a language model. A subclass adds the optimizer and the validation of a task.

    The loss of a step depends on the states after the previous step, so the steps must be taken in order. A process
    holds the states of its own share of the columns.

    Parameters
    ----------
    settings : LanguageSettings
        Settings that determine every number of the run. Their seed seeds the global generator before the model is made.
    model : {"lstm", "ln", "atn", "prop", "wn", "bn"}
        Which model to train.
    device : torch.device
        Device of the model and of its data.
    corpus : Corpus
        Text to train on and to measure with.

    Raises
    ------
    UsageError
        Windows are to begin with a state that the model cannot carry, or that is of another place in the text; or
        windows that begin anywhere are to have different lengths; or the embedding is tied to a layer of another size,
        or fixed and of another size than the vocabulary, or both fixed and tied; or the columns of the training text
        have no window.
    ExperimentError
        A text is too short for its columns.
    """

    def __init__(self, settings: LanguageSettings, model: ModelName, device: torch.device, corpus: Corpus) -> None:
        recurrence = settings.recurrence(model)
        if settings.carry and not recurrence.carries:
            raise UsageError(f"--carry: the model {model} has no state that a window could begin with; use --no-carry")
        if settings.carry and settings.random_start:
            raise UsageError("--carry: no window with --random-start follows another one; use --no-carry")
        if settings.vary_bptt and settings.random_start:
            raise UsageError("--vary-bptt: windows with --random-start have one length; use --no-vary-bptt")
        _check_embedding(settings, corpus.vocabulary)
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.device = device
        sizes: dict[Split, int] = {
            "train": settings.batch,
            "validation": settings.eval_batch,
            "test": settings.eval_batch,
        }
        self.columns = {split: torch.from_numpy(columns(corpus.tokens[split], size)) for split, size in sizes.items()}
        _check_windows(settings, len(self.columns["train"]))
        self.windows = Windows(settings, len(self.columns["train"]))
        self._text = torch.from_numpy(corpus.tokens["train"])
        self.model: LanguageModel = LanguageModel(
            recurrence,
            corpus.vocabulary,
            settings.embedding,
            settings.layers(),
            tied=settings.tied,
            dropout=settings.dropout(),
            fixed=settings.input_scale if settings.inputs == "orthogonal" else None,
        ).to(device)
        self.states: States | None = None
        """Final states of the previous window; None at the beginning of the text."""

    def loss(self, step: int) -> Tensor:
        """Mean cross-entropy in nats, a scalar, of this step's window."""
        loss, _ = self.read(step)
        return loss

    def read(self, step: int) -> tuple[Tensor, Reading]:
        """Mean cross-entropy of this step's window, and the output and states of the model."""
        window = self.windows.of(step)
        text = self.share(self._rows(window, step), 1).to(self.device)
        starts_empty = window.start == 0 or not self.settings.carry
        reading = self.model(text[:-1], None if starts_empty else self.states)
        self.states = tuple(state.detach() for state in reading.states) if self.settings.carry else None
        targets = text[1:]
        return self.model.cross_entropy(reading.output, targets), reading

    def _rows(self, window: Window, step: int) -> Tensor:
        """The words (length + 1, batch) of a window and the word after it, for every column."""
        if not self.settings.random_start:
            return self.columns["train"][window.start : window.end + 1]
        last = len(self._text) - window.length
        random = np.random.default_rng([self.settings.seed, step])
        starts = torch.from_numpy(random.integers(0, last, size=self.settings.batch))
        return self._text[starts + torch.arange(window.length + 1).unsqueeze(1)]

    def learning_rate(self, step: int) -> float:
        """Learning rate of a step, in proportion to the length of its window if the lengths vary."""
        return self.settings.lr * self.windows.of(step).scale

    def update(self, step: int) -> None:
        """Clip the norm of the gradient and take an optimizer step at this step's learning rate."""
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(step)
        super().update(step)

    def evaluate(self, model: LanguageModel, split: Split, *, carry: bool) -> Tensor:
        """Mean cross-entropy in nats, a float64 scalar, of all words of a text except the first of each column.

        The text is read in windows of `bptt` words. With `carry`, a window begins with the final state of the window
        before it; otherwise it begins with an empty state.
        """
        text = self.columns[split].to(self.device)
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        states: States | None = None
        for start in range(0, len(text) - 1, self.settings.bptt):
            targets = text[start + 1 : start + 1 + self.settings.bptt]
            reading = model(text[start : start + len(targets)], states if carry else None)
            states = reading.states
            total += model.cross_entropy(reading.output, targets) * len(targets)
        return total / (len(text) - 1)

    def state_dict(self) -> dict[str, Tensor]:
        """The states of all columns, from all processes, by layer and name."""
        return {
            f"state.{layer}.{name}": self.gather(tensor, 1).clone()
            for layer, state in enumerate(self.states or ())
            for name, tensor in flatten(state).items()
        }

    def load_state_dict(self, carried: Mapping[str, Tensor]) -> None:
        """Restore the states that `state_dict` returned.

        Raises
        ------
        ValueError
            A state belongs to a layer that the model does not have.
        """
        layers: dict[int, dict[str, Tensor]] = {}
        for path, tensor in carried.items():
            part, layer, name = [*path.split(".", 2), "", ""][:3]
            if part != "state" or not layer.isdecimal() or int(layer) >= len(self.model.layers):
                raise ValueError(f"carried has {path}; it must have states of {len(self.model.layers)} layers")
            layers.setdefault(int(layer), {})[name] = self.share(tensor, 1).to(self.device)
        self.states = (
            tuple(unflatten(layers[number], self.model.layers[number]) for number in sorted(layers)) if layers else None
        )


def _check_windows(settings: LanguageSettings, rows: int) -> None:
    """Check that the columns of the training text, of so many rows, have a window."""
    least = settings.bptt + 1 if settings.random_start else 3  # a window of a single word is left out
    if rows < least:
        shorter = " or a smaller --bptt" if settings.random_start else ""
        raise UsageError(
            f"--batch {settings.batch}: the columns of the training text have {rows} words, and a window needs "
            f"{least}; choose fewer columns{shorter}"
        )


def _check_embedding(settings: LanguageSettings, vocabulary: int) -> None:
    """Check that the embedding has the size that tied weights and a fixed embedding need.

    Raises
    ------
    UsageError
        Naming the flags.
    """
    size, last = settings.embedding, settings.layers()[-1]
    if settings.inputs == "orthogonal" and (settings.tied or size != vocabulary):
        tied = "--tied" if settings.tied else "--no-tied"
        raise UsageError(
            f"--inputs orthogonal: it must have --embedding {vocabulary}, the size of the vocabulary, and --no-tied; "
            f"there are --embedding {size} and {tied}"
        )
    if settings.tied and last != size:
        raise UsageError(f"--tied: --hidden is {last}; it must be as large as --embedding, {size}, or use --no-tied")
