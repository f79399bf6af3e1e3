"""The language model that both texts are learned with: AWD-LSTM (Merity, Keskar, Socher 2018) with ATN in its layers.

Words become vectors, pass through one recurrent layer after another, and the last one's output is read out as logits
of the next word, by the transposed table of vectors where the weights are tied. In training five kinds of dropout act:
whole words are taken out of the table; the inputs, the outputs between layers and the last output lose features, the
same ones at every step of a window ("locked"); and the recurrent weights lose entries, the same ones at every step
(DropConnect). With all probabilities 0 and one layer this is the released character model.
"""

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from atn import ATNLSTM, LSTMState
from experiments.models.recurrent_layer import Recurrence

States = tuple[LSTMState, ...]
"""State of each layer between two windows: h, c and the memories of its norms."""


class Dropout(NamedTuple):
    """Probabilities of AWD-LSTM's dropouts."""

    words: float = 0.0
    """Of a word of the table."""
    inputs: float = 0.0
    """Of a feature of the input."""
    between: float = 0.0
    """Of a feature between two layers."""
    output: float = 0.0
    """Of a feature of the last layer's output."""
    weights: float = 0.0
    """Of an entry of W_hh."""


class Reading(NamedTuple):
    """What the model makes of a window.

    Attributes
    ----------
    hidden : Tensor (T, B, H)
        Output of the last layer.
    output : Tensor (T, B, H)
        The same after dropout, which is read out.
    states : tuple of LSTMState
        To go on from with the next window.
    """

    hidden: Tensor
    output: Tensor
    states: States


class LanguageModel(nn.Module):
    """AWD-LSTM with a plain, LN or ATN layer.

    The table of vectors and the read-out begin uniform in ±0.1 and the read-out's bias at 0, as in AWD-LSTM and in the
    released script.

    Parameters
    ----------
    recurrence : Recurrence
        The recurrent layers.
    vocabulary : int
        Number of words.
    embedding : int
        Length of a word's vector.
    hidden : sequence of int
        Hidden size of each layer.
    tied : bool
        Whether the read-out's weights are the table of vectors; needs ``hidden[-1] == embedding``.
    dropout : Dropout
        Probabilities; all 0 by default.

    Raises
    ------
    ValueError
        Tied weights of different sizes.
    """

    def __init__(
        self,
        recurrence: Recurrence,
        vocabulary: int,
        embedding: int,
        hidden: Sequence[int],
        *,
        tied: bool,
        dropout: Dropout = Dropout(),  # noqa: B008 - immutable
    ) -> None:
        super().__init__()
        if tied and hidden[-1] != embedding:
            raise ValueError(
                f"tied weights need a last layer as large as the embedding, {embedding}; it is {hidden[-1]}"
            )
        self.dropout = dropout
        self.words = nn.Embedding(vocabulary, embedding)
        self.layers = nn.ModuleList(
            recurrence.layer(inputs, size) for inputs, size in zip([embedding, *hidden], hidden, strict=False)
        )
        # One tensor has one name: the checkpoint's format knows no second name for the same one.
        self.read_out = None if tied else nn.Parameter(torch.empty(vocabulary, hidden[-1]))
        self.read_out_bias = nn.Parameter(torch.zeros(vocabulary))
        for weight in (self.words.weight, self.read_out):
            if weight is not None:
                nn.init.uniform_(weight, -0.1, 0.1)
        if dropout.weights > 0:
            for layer in self.layers:
                parametrize.register_parametrization(layer, "weight_hh_l0", DropConnect(dropout.weights))

    def forward(self, tokens: Tensor, states: States | None = None) -> Reading:
        """Read a window.

        Parameters
        ----------
        tokens : Tensor (T, B), int64
            Words, each column a text of its own.
        states : tuple of LSTMState, optional
            What the window before left; None at the beginning of the texts.
        """
        x = self.words(tokens)
        if self.training and self.dropout.words > 0:
            kept = functional.dropout(x.new_ones(self.words.num_embeddings), self.dropout.words)
            x = x * kept[tokens].unsqueeze(2)
        x = self._locked(x, self.dropout.inputs)
        after: list[LSTMState] = []
        for number, layer in enumerate(self.layers):
            if number > 0:
                x = self._locked(x, self.dropout.between)
            x, state = cast("ATNLSTM", layer).stream(x, None if states is None else states[number])
            after.append(state)
        return Reading(x, self._locked(x, self.dropout.output), tuple(after))

    def cross_entropy(self, output: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy, a scalar, of the words `targets` (T, B) given the output (T, B, H)."""
        weight = self.words.weight if self.read_out is None else self.read_out
        logits = functional.linear(output, weight, self.read_out_bias)
        return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def _locked(self, x: Tensor, probability: float) -> Tensor:
        """Dropout of features of each column of x (T, B, N), the same ones at all T steps."""
        if not self.training or probability == 0:
            return x
        return x * functional.dropout(x.new_ones(1, *x.shape[1:]), probability)


class DropConnect(nn.Module):
    """Weights of which each entry is 0 with some probability while training, and the others are scaled accordingly."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, weight: Tensor) -> Tensor:
        """The weights that a window is read with."""
        return functional.dropout(weight, self.probability, self.training)
