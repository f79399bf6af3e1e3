"""What the two language models share: windows of a text, states carried from one to the next, and how to measure."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from atn import ATNLSTM, LSTMState
from atn.state import LayerMemory
from atn.window import StepStatistics
from experiments.datasets.generated import generated_tokens
from experiments.datasets.text import Corpus, Split, columns
from experiments.models.awd_lstm import Dropout, LanguageModel, Reading, States
from experiments.models.recurrent_layer import RecurrenceSettings
from experiments.training.problem import Problem
from experiments.training.settings import ModelName, require_at_least

SHORTEST = 5
"""Fewest words in a window that is drawn."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LanguageSettings(RecurrenceSettings):
    """Settings of every language model; each field says where its value comes from.

    Raises
    ------
    ValueError
        A size below 1, a window shorter than two words, or a negative number where there is none.
    """

    corpus: Literal["real", "generated"]
    """The text of the paper, or a small generated one, on which the numbers mean nothing."""

    batch: int
    """Columns that the training text is cut into and that are read side by side. Paper: 32."""

    eval_batch: int
    """Columns that the other texts are cut into. Open in the paper; 10 as in the released script."""

    bptt: int
    """Words in a window, through which gradients flow."""

    vary_bptt: bool
    """Whether windows have random lengths about `bptt`, as `window_lengths` draws them, with the learning rate scaled
    accordingly."""

    carry: bool
    """Whether a window begins with the state that the window before it left, the memories of the norms included, or
    with an empty one."""

    embedding: int
    """Length of a word's vector."""

    tied: bool
    """Whether the read-out's weights are the table of vectors."""

    k: int
    """Window length of ATN."""

    lr: float
    """Learning rate."""

    clip: float
    """Largest norm of the gradient."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 1, "batch", "eval_batch", "embedding", "k")
        require_at_least(self, 2, "bptt")
        require_at_least(self, 0, "lr", "clip")

    def window(self) -> int:
        """Window length of ATN."""
        return self.k

    def layers(self) -> tuple[int, ...]:
        """Hidden size of each layer; every task's settings say."""
        raise NotImplementedError

    def dropout(self) -> Dropout:
        """Probabilities of the dropouts; all 0."""
        return Dropout()


def generated_corpus() -> Corpus:
    """A small text by a simple rule, for trying the code."""
    sizes: dict[Split, int] = {"train": 3000, "validation": 400, "test": 300}
    tokens = {split: generated_tokens(size, 12, seed=size) for split, size in sizes.items()}
    return Corpus(tokens, 12)


class Window(NamedTuple):
    """The words that a step is trained on: rows ``start`` to ``start + length``, each to be told from those before."""

    epoch: int
    """Epochs before this one."""
    start: int
    length: int
    scale: float
    """Factor of the learning rate."""

    @property
    def end(self) -> int:
        """First row after those that are read."""
        return self.start + self.length


def window_lengths(bptt: int, key: list[int]) -> Iterator[int]:
    """Lengths of windows, drawn as AWD-LSTM and the released script draw them, without end.

    The mean is `bptt`, one time in twenty half of it; normally distributed about it with standard deviation 5, rounded
    towards zero, and at least 5. The same lengths for the same key.
    """
    random = np.random.default_rng(key)
    while True:
        mean = bptt if random.random() < 0.95 else bptt / 2
        yield max(SHORTEST, int(random.normal(mean, 5)))


class Windows:
    """Which window each step is trained on: the text from beginning to end, again and again.

    Parameters
    ----------
    settings : LanguageSettings
        Of which `bptt`, `vary_bptt` and `seed` decide the windows.
    rows : int
        Length of the columns.
    """

    def __init__(self, settings: LanguageSettings, rows: int) -> None:
        self.settings = settings
        self.rows = rows
        self._ends: list[int] = []
        """Last step of each epoch, as far as anybody has asked."""
        self._epoch = functools.lru_cache(maxsize=1)(self._make_epoch)

    def of(self, step: int) -> Window:
        """Window of a step, counted from 1."""
        while not self._ends or self._ends[-1] < step:
            before = self._ends[-1] if self._ends else 0
            self._ends.append(before + len(self._epoch(len(self._ends))))
        epoch = int(np.searchsorted(self._ends, step))
        first = self._ends[epoch - 1] if epoch else 0
        return self._epoch(epoch)[step - first - 1]

    def _make_epoch(self, epoch: int) -> list[Window]:
        bptt = self.settings.bptt
        lengths = (
            window_lengths(bptt, [self.settings.seed, epoch]) if self.settings.vary_bptt else iter(lambda: bptt, 0)
        )
        windows, start = [], 0
        # The last row is only ever told, never read; a window of a single word is left out, as in the script.
        while start < self.rows - 2:
            length = next(lengths)
            windows.append(Window(epoch, start, min(length, self.rows - 1 - start), length / bptt))
            start += length
        return windows


class LanguageProblem(Problem):
    """A language model as the trainer sees it; a task adds its optimizer and what it measures.

    The loss of a step depends on the states that the steps before it left, so steps are taken in order. These states
    belong to this process's share of the columns.

    Parameters
    ----------
    settings : LanguageSettings
        All that decides the numbers; the global generator is seeded from it before the model is made.
    model : {"lstm", "ln", "atn"}
        Which model to train.
    device : torch.device
        Where to.
    corpus : Corpus
        The text.
    """

    def __init__(self, settings: LanguageSettings, model: ModelName, device: torch.device, corpus: Corpus) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.device = device
        sizes: dict[Split, int] = {
            "train": settings.batch,
            "validation": settings.eval_batch,
            "test": settings.eval_batch,
        }
        self.columns = {split: torch.from_numpy(columns(corpus.tokens[split], size)) for split, size in sizes.items()}
        self.windows = Windows(settings, len(self.columns["train"]))
        self.model: LanguageModel = LanguageModel(
            settings.recurrence(model),
            corpus.vocabulary,
            settings.embedding,
            settings.layers(),
            tied=settings.tied,
            dropout=settings.dropout(),
        ).to(device)
        self.states: States | None = None
        """What the last window left for the next one."""

    def loss(self, step: int) -> Tensor:
        """Mean cross-entropy in nats, a scalar, of this step's window."""
        loss, _ = self.read(step)
        return loss

    def read(self, step: int) -> tuple[Tensor, Reading]:
        """Mean cross-entropy of this step's window, and what the model made of it."""
        window = self.windows.of(step)
        text = self.share(self.columns["train"], 1)
        begins = window.start == 0 or not self.settings.carry
        reading = self.model(text[window.start : window.end].to(self.device), None if begins else self.states)
        self.states = tuple(state.detach() for state in reading.states) if self.settings.carry else None
        targets = text[window.start + 1 : window.end + 1].to(self.device)
        return self.model.cross_entropy(reading.output, targets), reading

    def learning_rate(self, step: int) -> float:
        """Learning rate of a step: longer windows have a higher one."""
        return self.settings.lr * self.windows.of(step).scale

    def update(self, step: int) -> None:
        """Change the parameters by their gradients, whose norm is cut, at this step's learning rate."""
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(step)
        super().update(step)

    def evaluate(self, model: LanguageModel, split: Split, *, carry: bool) -> Tensor:
        """Mean cross-entropy in nats, a float64 scalar, of all words of a text but the first of each column.

        Read in windows of `bptt` words, each from the state that the one before it left (`carry`) or from none.
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
        """The states of all columns, by layer and name."""
        return {
            f"state.{layer}.{name}": self.gather(tensor, 1).clone()
            for layer, state in enumerate(self.states or ())
            for name, tensor in flatten(state).items()
        }

    def load_state_dict(self, carried: Mapping[str, Tensor]) -> None:
        """Go on with what `state_dict` gave.

        Raises
        ------
        ValueError
            If it is not of these layers.
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


def flatten(state: LSTMState) -> dict[str, Tensor]:
    """Tensors of the state of one layer by name; all have the batch as their second axis."""
    tensors = {"h": state.h, "c": state.c}
    for memory in state.memory:
        for norm, steps in (memory._asdict() if memory else {}).items():
            tensors |= {f"{norm}.mean": steps.mean, f"{norm}.var": steps.var}
    return tensors


def unflatten(tensors: Mapping[str, Tensor], layer: nn.Module) -> LSTMState:
    """State of `layer` from what `flatten` gave."""
    norms = {
        norm: StepStatistics(tensors[f"{norm}.mean"], tensors[f"{norm}.var"])
        for norm in LayerMemory._fields
        if f"{norm}.mean" in tensors
    }
    memory = (LayerMemory(**norms) if norms else None,)
    return LSTMState(tensors["h"], tensors["c"], memory, lengths=None, origin=cast("ATNLSTM", layer).stream_origin)
