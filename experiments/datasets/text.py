"""Texts as numbers: words, a vocabulary, and the columns that a batch reads side by side."""

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from experiments.common.errors import ExperimentError

Split = Literal["train", "validation", "test"]

END = "<eos>"
"""The word after each line."""


def tokens(text: str) -> Iterator[str]:
    """Words of a text, whatever white space divides them, and `END` after each line."""
    # Not str.splitlines: it would end lines at other characters than the newline as well.
    for line in text.removesuffix("\n").split("\n"):
        yield from line.split()
        yield END


class Vocabulary:
    """The words of a text, numbered as they first appear."""

    def __init__(self, text: str) -> None:
        self.words = tuple(dict.fromkeys(tokens(text)))
        self._numbers = {word: number for number, word in enumerate(self.words)}

    def numbers(self, text: str, where: str) -> npt.NDArray[np.int64]:
        """Numbers (N,) of the words of a text, which `where` has.

        Raises
        ------
        ExperimentError
            Naming a word that the vocabulary does not have.
        """
        try:
            return np.fromiter((self._numbers[word] for word in tokens(text)), np.int64)
        except KeyError as error:
            raise ExperimentError(f"{where} has the word {error}, which the training text does not have") from None


class Corpus(NamedTuple):
    """A text in numbers, in its three parts."""

    tokens: Mapping[Split, npt.NDArray[np.int64]]
    """Part -> (N,), each from 0 to ``vocabulary - 1``."""
    vocabulary: int
    """Number of different words."""


def corpus_of(texts: Mapping[Split, str]) -> Corpus:
    """Corpus of the parts of a text; the vocabulary is that of its training part.

    Raises
    ------
    ExperimentError
        If another part has a word that the training part does not have.
    """
    vocabulary = Vocabulary(texts["train"])
    numbers = {split: vocabulary.numbers(text, f"the {split} text") for split, text in texts.items()}
    return Corpus(numbers, len(vocabulary.words))


def columns(numbers: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """The text (N,) cut into `count` equal columns (N // count, count), each read downwards; the rest is left out.

    Raises
    ------
    ExperimentError
        If a column would have fewer than two rows: there would be nothing to predict.
    """
    if len(numbers) < 2 * count:
        raise ExperimentError(
            f"the text has {len(numbers)} tokens; it must have at least {2 * count} for {count} columns"
        )
    rows = len(numbers) // count
    return numbers[: rows * count].reshape(count, rows).T
