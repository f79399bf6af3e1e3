"""Small generated data sets in the form of the real ones, for trying the code; losses on them mean nothing."""

import numpy as np
import numpy.typing as npt

from experiments.datasets.mnist import CLASSES, SIDE, Images


def generated_images(count: int, seed: int) -> Images:
    """Black images with a white bar. The label determines its row, and its column is random."""
    random = np.random.default_rng(seed)
    labels = random.integers(CLASSES, size=count, dtype=np.uint8)
    pixels = np.zeros((count, SIDE, SIDE), np.uint8)
    for image, label, left in zip(pixels, labels, random.integers(SIDE // 2, size=count), strict=True):
        image[2 * label + 4 : 2 * label + 6, left : left + SIDE // 2] = 255
    return Images(pixels, labels)


def generated_tokens(count: int, vocabulary: int, seed: int) -> npt.NDArray[np.int64]:
    """Tokens (count,) from 0 to ``vocabulary - 1``; each is the successor of the last with probability at least 3/4."""
    random = np.random.default_rng(seed)
    leaps = np.where(random.random(count) < 0.75, 1, random.integers(vocabulary, size=count))
    return np.cumsum(leaps) % vocabulary
