"""MNIST, read from its IDX files."""

import gzip
import math
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from experiments.common.errors import ExperimentError
from experiments.datasets.sources import DataFile, obtain

Split = Literal["train", "validation"]

SIDE = 28
"""Pixels in a row and in a column."""

CLASSES = 10

_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "http://yann.lecun.com/exdb/mnist/",
)


def _file(name: str, sha256: str) -> DataFile:
    return DataFile("mnist", name, sha256, tuple(mirror + name for mirror in _MIRRORS))


class ImageFiles(NamedTuple):
    """The image file and the label file of the training or the validation set."""

    images: DataFile
    labels: DataFile
    size: int
    """Number of images, and of labels."""


MNIST: dict[Split, ImageFiles] = {
    "train": ImageFiles(
        _file("train-images-idx3-ubyte.gz", "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        _file("train-labels-idx1-ubyte.gz", "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        60_000,
    ),
    "validation": ImageFiles(
        _file("t10k-images-idx3-ubyte.gz", "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        _file("t10k-labels-idx1-ubyte.gz", "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
        10_000,
    ),
}
"""The files of each set. MNIST has no validation set, so the test images are used for validation."""


class Images(NamedTuple):
    """Images (N, 28, 28) and labels (N,), both uint8: brightness from 0 to 255, digits from 0 to 9."""

    pixels: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]


def read_images(files: ImageFiles, data_dir: Path | None) -> Images:
    """Images and labels of the training or the validation set.

    Raises
    ------
    ExperimentError
        A file is missing or damaged, or its content is not an IDX file of images or labels of these sizes.
    """
    pixels = parse_idx(files.images, obtain(files.images, data_dir), (files.size, SIDE, SIDE))
    labels = parse_idx(files.labels, obtain(files.labels, data_dir), (files.size,))
    return Images(pixels, labels)


def parse_idx(file: DataFile, content: bytes, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Array of `shape` from a gzipped IDX file of bytes.

    An IDX file begins with two zero bytes, the type (8 for unsigned bytes) and the number of axes. The lengths of the
    axes follow as big-endian 32-bit integers, and then the elements, the last axis running fastest.

    Raises
    ------
    ExperimentError
        The array has another type or shape, or the number of bytes does not match its shape.
    """
    raw = gzip.decompress(content)
    magic = bytes([0, 0, 8, len(shape)])
    if raw[:4] != magic:
        raise ExperimentError(f"{file} begins with {raw[:4].hex()}; an IDX file of this kind begins with {magic.hex()}")
    start = 4 + 4 * len(shape)
    lengths = tuple(int(length) for length in np.frombuffer(raw[4:start], ">u4"))
    if lengths != shape or len(raw) - start != math.prod(shape):
        raise ExperimentError(f"{file} has {len(raw) - start} bytes of shape {lengths}; it must have shape {shape}")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)
