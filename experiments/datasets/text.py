"""Texts as numbers: words, a vocabulary, and the columns of a batch."""

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from experiments.common.errors import ExperimentError

Split = Literal["train", "validation", "test"]

END = "<eos>"
"""The word that marks the end of a line."""


def tokens(text: str) -> Iterator[str]:
    """Words of a text, separated by white space, with `END` after each line."""
    # str.splitlines would also end lines at characters other than the newline.
    for line in text.removesuffix("\n").split("\n"):
        yield from line.split()
        yield END


class Vocabulary:
    """The different words of a text, numbered in the order of their first appearance."""

    def __init__(self, text: str) -> None:
        self.words = tuple(dict.fromkeys(tokens(text)))
        self._numbers = {word: number for number, word in enumerate(self.words)}

    def numbers(self, text: str, where: str) -> npt.NDArray[np.int64]:
        """Numbers (N,) of the words of a text; an error message names the text as `where`.

        Raises
        ------
        ExperimentError
            The vocabulary does not have a word of the text; the message names the word.
        """
        try:
            return np.fromiter((self._numbers[word] for word in tokens(text)), np.int64)
        except KeyError as error:
            raise ExperimentError(f"{where} has the word {error}, which the training text does not have") from None


class Corpus(NamedTuple):
    """The three parts of a text as numbers."""

    tokens: Mapping[Split, npt.NDArray[np.int64]]
    """Tokens (N,) of each part, each from 0 to ``vocabulary - 1``."""
    vocabulary: int
    """Number of different words."""


def corpus_of(texts: Mapping[Split, str]) -> Corpus:
    """Corpus from the parts of a text, with the vocabulary of the training part.

    Raises
    ------
    ExperimentError
        Another part has a word that the training part does not have.
    """
    vocabulary = Vocabulary(texts["train"])
    numbers = {split: vocabulary.numbers(text, f"the {split} text") for split, text in texts.items()}
    return Corpus(numbers, len(vocabulary.words))


def columns(numbers: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """Cut the text (N,) into `count` equal columns (N // count, count), each read downwards; the remainder is left out.

    Raises
    ------
    ExperimentError
        A column would have fewer than two rows, so that there would be nothing to predict.
    """
    if len(numbers) < 2 * count:
        raise ExperimentError(
            f"the text has {len(numbers)} tokens; it must have at least {2 * count} for {count} columns"
        )
    rows = len(numbers) // count
    return numbers[: rows * count].reshape(count, rows).T
