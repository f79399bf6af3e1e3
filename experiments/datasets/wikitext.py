"""WikiText-2 word by word, in the version whose rare words are replaced by ``<unk>``."""

from pathlib import Path

from experiments.datasets.sources import DataFile, obtain
from experiments.datasets.text import Corpus, Split, corpus_of

_PLACE = "pytorch/examples{}77f55b912142e11fcfdf5b530231fb9c52f181e8/word_language_model/data/wikitext-2/{}"
_MIRRORS = ("https://raw.githubusercontent.com/" + _PLACE, "https://cdn.jsdelivr.net/gh/" + _PLACE)


def _file(name: str, sha256: str) -> DataFile:
    return DataFile("wikitext-2", name, sha256, (_MIRRORS[0].format("/", name), _MIRRORS[1].format("@", name)))


WIKITEXT_2: dict[Split, DataFile] = {
    "train": _file("train.txt", "9e9fa1ad55b1c2c95b08e37dd8e653f638fac2c6de904b79e813611eefbc985f"),
    "validation": _file("valid.txt", "f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8"),
    "test": _file("test.txt", "d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0"),
}
"""The files of the three parts. Other distributions call them ``wiki.train.tokens`` and so on."""


def word_corpus(data_dir: Path | None) -> Corpus:
    """The corpus: 33,278 different words, one of them for the end of a line.

    Raises
    ------
    ExperimentError
        A file is missing or damaged.
    """
    return corpus_of({split: obtain(file, data_dir).decode() for split, file in WIKITEXT_2.items()})
