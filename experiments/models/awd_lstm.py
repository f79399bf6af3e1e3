"""The model of both language-model tasks: AWD-LSTM (Merity, Keskar, Socher 2018) with ATN in its layers.

An embedding maps each word to a vector, a stack of recurrent layers processes the vectors, and a linear decoder maps
the output of the last layer to logits of the next word. With tied weights the decoder uses the embedding matrix.

Five kinds of dropout act in training. Embedding dropout removes whole words from the embedding matrix. Dropout of the
inputs, of the outputs between layers and of the last output removes the same features at every step of a window
("locked" or variational dropout). DropConnect removes the same entries of the recurrent weights at every step. With
all probabilities 0 and one layer this is the released character model.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from atn import ATNLSTM, LSTMState
from atn.state import LayerMemory
from atn.window import StepStatistics
from experiments.models.recurrent_layer import Recurrence

States = tuple[LSTMState, ...]
"""State of each layer between two windows: h, c and the memories of its norms."""


def flatten(state: LSTMState) -> dict[str, Tensor]:
    """The tensors of the state of one layer by name; the second axis of each is the batch."""
    tensors = {"h": state.h, "c": state.c}
    for memory in state.memory:
        for norm, steps in (memory._asdict() if memory else {}).items():
            tensors |= {f"{norm}.mean": steps.mean, f"{norm}.var": steps.var}
    return tensors


def unflatten(tensors: Mapping[str, Tensor], layer: nn.Module) -> LSTMState:
    """State of `layer` from the tensors that `flatten` returned."""
    norms = {
        norm: StepStatistics(tensors[f"{norm}.mean"], tensors[f"{norm}.var"])
        for norm in LayerMemory._fields
        if f"{norm}.mean" in tensors
    }
    memory = (LayerMemory(**norms) if norms else None,)
    return LSTMState(tensors["h"], tensors["c"], memory, lengths=None, origin=cast("ATNLSTM", layer).stream_origin)


class Dropout(NamedTuple):
    """Dropout probabilities of AWD-LSTM."""

    words: float = 0.0
    """Probability of dropping a word of the embedding matrix."""
    inputs: float = 0.0
    """Probability of dropping a feature of the first layer's input."""
    between: float = 0.0
    """Probability of dropping a feature between two layers."""
    output: float = 0.0
    """Probability of dropping a feature of the last layer's output."""
    weights: float = 0.0
    """Probability of dropping an entry of W_hh."""


class Reading(NamedTuple):
    """Output and states of the model for one window.

    Attributes
    ----------
    hidden : Tensor (T, B, H)
        Output of the last layer.
    output : Tensor (T, B, H)
        Output of the last layer after dropout; the decoder takes it as input.
    states : tuple of LSTMState
        Final state of each layer, with which the next window can begin.
    """

    hidden: Tensor
    output: Tensor
    states: States


class LanguageModel(nn.Module):
    """AWD-LSTM whose layers are plain, LN or ATN-LSTMs.

    The embedding and the weights of the decoder are initialized uniformly in [-0.1, 0.1] and the decoder's bias with 0,
    as in AWD-LSTM and in the released script.

    Parameters
    ----------
    recurrence : Recurrence
        Norm and initialization of the recurrent layers.
    vocabulary : int
        Number of words.
    embedding : int
        Size of the embedding of a word.
    hidden : sequence of int
        Hidden size of each layer.
    tied : bool
        Whether the decoder uses the embedding matrix as its weights; requires ``hidden[-1] == embedding``.
    dropout : Dropout
        Dropout probabilities, all 0 by default.
    fixed : float, optional
        The embedding is an orthogonal matrix times this factor, and is not trained; None for one that is. Requires
        ``embedding == vocabulary`` and weights that are not tied.
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
        fixed: float | None = None,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.carries = recurrence.carries
        """Whether a window can begin with the states of the window before."""
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.layers = nn.ModuleList(
            recurrence.layer(inputs, size) for inputs, size in zip([embedding, *hidden], hidden, strict=False)
        )
        # Tied weights are registered under one name only, because the checkpoint's format allows a tensor one name.
        self.decoder_weight = None if tied else nn.Parameter(torch.empty(vocabulary, hidden[-1]))
        self.decoder_bias = nn.Parameter(torch.zeros(vocabulary))
        for weight in (self.embedding.weight, self.decoder_weight):
            if weight is not None:
                nn.init.uniform_(weight, -0.1, 0.1)
        if fixed is not None:
            nn.init.orthogonal_(self.embedding.weight.requires_grad_(False), gain=fixed)  # noqa: FBT003 - torch's name
        if dropout.weights > 0:
            for layer in self.layers:
                parametrize.register_parametrization(layer, "weight_hh_l0", DropConnect(dropout.weights))

    def forward(self, tokens: Tensor, states: States | None = None) -> Reading:
        """Process one window.

        Parameters
        ----------
        tokens : Tensor (T, B), int64
            Words; each column is a separate text.
        states : tuple of LSTMState, optional
            Final states of the previous window; None at the beginning of the texts. A model that does not carry its
            states, see `carries`, returns () in their place.
        """
        x = self.embedding(tokens)
        if self.training and self.dropout.words > 0:
            kept = functional.dropout(x.new_ones(self.embedding.num_embeddings), self.dropout.words)
            x = x * kept[tokens].unsqueeze(2)
        x = self._locked(x, self.dropout.inputs)
        final_states: list[LSTMState] = []
        for number, layer in enumerate(self.layers):
            if number > 0:
                x = self._locked(x, self.dropout.between)
            if self.carries:
                x, state = cast("ATNLSTM", layer).stream(x, None if states is None else states[number])
                final_states.append(state)
            else:
                x, _ = layer(x)
        return Reading(x, self._locked(x, self.dropout.output), tuple(final_states))

    def project_rows_(self) -> None:
        """Bring the rows of the layers' weights back to length 1, as Norm-Prop does after each optimizer step."""
        for layer in self.layers:
            cast("ATNLSTM", layer).project_rows_()

    def cross_entropy(self, output: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy, a scalar, of the words `targets` (T, B) given the output (T, B, H)."""
        weight = self.embedding.weight if self.decoder_weight is None else self.decoder_weight
        logits = functional.linear(output, weight, self.decoder_bias)
        return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def _locked(self, x: Tensor, probability: float) -> Tensor:
        """Locked dropout of x (T, B, N): within a column the same features are dropped at all T steps."""
        if not self.training or probability == 0:
            return x
        return x * functional.dropout(x.new_ones(1, *x.shape[1:]), probability)


class DropConnect(nn.Module):
    """Dropout of single entries of a weight during training; the other entries are scaled up to keep the mean."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, weight: Tensor) -> Tensor:
        """The weight that the layer computes with, with a new mask for each window during training."""
        return functional.dropout(weight, self.probability, self.training)
