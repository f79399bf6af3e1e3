"""Noisy MNIST pixel by pixel, section 5.1 of the paper: Figure 5.

The input is the sequence of the 784 pixels of an image, row by row: brightness in [0, 1] plus Gaussian noise of
variance 0.1. After the last pixel the model predicts the digit. The loss is the cross-entropy; a model that guesses has
the loss ``ln 10`` and the accuracy 0.1.

The paper leaves open the number of steps, the optimizer, the size of the models, and whether an image has the same
noise in each epoch. Here a training image gets new noise in each epoch, as in data augmentation. A validation image
always has the same noise, so that validations can be compared.
"""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from atn import ATNLSTM
from experiments.common.errors import UsageError
from experiments.datasets.generated import generated_images
from experiments.datasets.mnist import CLASSES, MNIST, SIDE, Images, Split, read_images
from experiments.models.recurrent_layer import RecurrenceSettings
from experiments.models.sequence_model import SequenceModel
from experiments.training.problem import Problem
from experiments.training.records.metrics import VALIDATION
from experiments.training.settings import ModelName, PresetName, require_at_least

NAME = "pixel-mnist"

ACCURACY = "accuracy"
"""Name of the fraction of validation images that are classified correctly."""

CONTRAST = "contrast"
"""Name of the contrast that the first norm leaves (`contrast`)."""

GRAY = 0.3
"""Brightness of the gray pixel in `contrast`, about the standard deviation of the paper's noise."""

GENERATED_IMAGES: Mapping[Split, int] = {"train": 512, "validation": 64}
"""Number of images in the generated data set."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PixelMnistSettings(RecurrenceSettings):
    """Settings of noisy pixel-by-pixel MNIST; the docstring of a field gives the source of its value."""

    corpus: Literal["mnist", "generated"]
    """Images to train on: MNIST as in the paper, or a few generated images whose losses mean nothing."""

    noise_variance: float
    """Variance of the Gaussian noise on the pixels. Paper: 0.1. The range of the pixels is open in the paper; [0, 1] is
    the usual scaling."""

    batch: int
    """Images in a training batch; images after the last whole batch of an epoch are left out. Open in the paper; 128 as
    in the other experiments and in expRNN's script of this task."""

    eval_batch: int
    """Images in a batch of the validation; it affects only the rounding of the loss. Open in the paper; 500, which
    needs little memory."""

    hidden: int
    """Hidden size of the one layer. Open in the paper; 68 as in its copying experiment, which a CPU can train."""

    k: int
    """Window length of ATN. Paper: 10."""

    lr: float
    """Learning rate of Adam. The paper leaves the rate and the optimizer open. Adam with 1e-2 is used in two of its
    other experiments, and learned faster than RMSProp with 1e-3 in a short trial."""

    clip: float
    """Largest norm of the gradient. Open in the paper; 1 as in Recurrent Batch Normalization's experiment."""

    chrono: bool
    """Whether the biases of the gates have chrono initialization, in all models (`remember`). Open in the paper; on,
    since a forget gate with bias 0 halves the cell at each step, and LN and ATN without it still guess after all steps
    of the preset (grid pixel-start)."""

    chrono_at: Literal["bias", "shift"] = "bias"
    """The parameter that chrono initialization fills: b_ih, or the shift of the norm of W_ih x, if there is one. Open
    in the paper. A norm with the biases inside centers and scales b_ih together with W_ih x, and gates then start
    elsewhere; the shift is added after the norm wherever the biases stand."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 1, "batch", "eval_batch", "hidden", "k")
        require_at_least(self, 0, "noise_variance", "lr", "clip")

    def window(self) -> int:
        """Window length of ATN."""
        return self.k


PAPER = PixelMnistSettings(
    # Open in the paper: three epochs of 468 batches, with six validations.
    steps=3 * 468,
    seed=5544,
    validate_every=234,
    corpus="mnist",
    noise_variance=0.1,
    batch=128,
    eval_batch=500,
    hidden=68,
    k=10,
    lr=1e-2,
    clip=1.0,
    eps=1.0,
    bias_placement="outside",
    init="paper",
    chrono=True,
    lstm_init="torch",
)
"""The settings that the text of the paper gives. The script of this experiment is not published."""

SMOKE = dataclasses.replace(PAPER, steps=4, validate_every=2, corpus="generated", batch=8, eval_batch=32, hidden=6, k=3)
"""Small sizes that run all of the code in seconds, without data; the losses mean nothing."""

PRESETS: Mapping[PresetName, PixelMnistSettings] = {"paper": PAPER, "smoke": SMOKE}


def read_corpus(settings: PixelMnistSettings, split: Split, data_dir: Path | None) -> Images:
    """Images and labels of the training or the validation set.

    Raises
    ------
    ExperimentError
        MNIST is missing or damaged.
    """
    if settings.corpus == "generated":
        return generated_images(GENERATED_IMAGES[split], seed=len(split))
    return read_images(MNIST[split], data_dir)


@functools.lru_cache(maxsize=1)
def order(seed: int, epoch: int, count: int) -> npt.NDArray[np.int64]:
    """Order (count,) of the training images in an epoch."""
    return np.random.default_rng([seed, 0, epoch]).permutation(count)


def training_indices(settings: PixelMnistSettings, step: int, count: int) -> npt.NDArray[np.int64]:
    """Indices (B,), among the `count` training images, of the batch of a step; steps count from 1."""
    epoch, position = divmod(step - 1, count // settings.batch)
    return order(settings.seed, epoch, count)[position * settings.batch : (position + 1) * settings.batch]


def make_sequences(pixels: npt.NDArray[np.uint8], variance: float, key: list[int]) -> Tensor:
    """Convert images to noisy sequences.

    Parameters
    ----------
    pixels : array (B, 28, 28), uint8
        Images.
    variance : float
        Variance of the noise.
    key : list of int
        Seed of the noise; equal keys give equal noise.

    Returns
    -------
    Tensor (784, B, 1), float32
        Brightness from 0 to 1, row by row, plus the noise.
    """
    brightness = pixels.reshape(len(pixels), SIDE * SIDE).T.astype(np.float32) / 255
    noise = np.random.default_rng(key).standard_normal(brightness.shape, np.float32)
    return torch.from_numpy(brightness + np.float32(variance**0.5) * noise).unsqueeze(2)


@torch.no_grad()
def remember(lstm: ATNLSTM, T: int, at: Literal["bias", "shift"]) -> None:
    """Initialize what is added to the forget and input gates for dependencies over up to T steps.

    This is chrono initialization (Tallec and Ollivier 2018): ``b_f = log u`` with u uniform in [1, T - 1], and
    ``b_i = -b_f``. It fills b_ih, or the shift of the norm of W_ih x, if there is one.
    """
    forget = torch.empty(lstm.hidden_size).uniform_(1, T - 1).log()
    name = "norm_ih_l0.bias" if at == "shift" and hasattr(lstm, "norm_ih_l0") else "bias_ih_l0"
    lstm.get_parameter(name)[: 2 * lstm.hidden_size] = torch.cat([-forget, forget])


@torch.no_grad()
def contrast(weight: Tensor, bias: Tensor, window: int, eps: float) -> Tensor:
    """How many times larger than a gray pixel a white one is after the first norm, both after gray pixels.

    The norm multiplies ``w x + b`` by its gain ``(var + eps)^(-1/2)``, so the ratio is the white pixel's gain over
    `GRAY` times the gray pixel's. It is ``1 / GRAY`` = 3.3 where the gain does not depend on the pixel, as without a
    norm, and 1 where the norm erases the brightness, as layer normalization does for ``b = 0`` and ``eps = 0``.

    Parameters
    ----------
    weight : Tensor (4H, 1)
        W_ih.
    bias : Tensor (4H,)
        What is added before the norm: b_ih inside, zeros outside.
    window : int
        Window length: k for ATN, 1 for LN.
    eps : float
        Added to the variance.
    """

    def gain(last: float) -> Tensor:
        pixels = weight.new_tensor([GRAY] * (window - 1) + [last])
        rows = torch.outer(pixels, weight.flatten()) + bias
        return (rows.var(correction=0) + eps).rsqrt()

    return gain(1.0) / (GRAY * gain(GRAY))


class PixelMnist(Problem):
    """Training problem: the model, its optimizer, and the validation.

    Parameters
    ----------
    settings : PixelMnistSettings
        Settings that determine every number of the run. Their seed seeds the global generator before the model is made.
    model : {"lstm", "ln", "atn"}
        Which model to train.
    device : torch.device
        Device of the model and of its data.
    data_dir : Path, optional
        Folder of the data sets. By default it is the one that ``ATN_DATA_DIR`` names; without that the data are
        downloaded.

    Raises
    ------
    ExperimentError
        MNIST is missing or damaged.
    UsageError
        A batch has more images than there are to train on.
    """

    model: SequenceModel

    def __init__(
        self, settings: PixelMnistSettings, model: ModelName, device: torch.device, data_dir: Path | None = None
    ) -> None:
        self.settings = settings
        self.device = device
        self.window = {"ln": 1, "atn": settings.k}.get(model)
        self.train = read_corpus(settings, "train", data_dir)
        if settings.batch > len(self.train.labels):
            raise UsageError(
                f"--batch is {settings.batch}; it must be at most {len(self.train.labels)}, the number of images"
            )
        test = read_corpus(settings, "validation", data_dir)
        self.test_sequences = make_sequences(test.pixels, settings.noise_variance, [settings.seed, 2])
        self.test_labels = torch.from_numpy(test.labels.astype(np.int64))
        torch.manual_seed(settings.seed)
        network = SequenceModel(settings.recurrence(model), 1, settings.hidden, CLASSES)
        if settings.chrono:
            remember(network.lstm, SIDE * SIDE, settings.chrono_at)
        self.model = network.to(device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=settings.lr)

    def loss(self, step: int) -> Tensor:
        """Mean cross-entropy, a scalar, of the training batch of this step."""
        chosen = training_indices(self.settings, step, len(self.train.labels))
        x = make_sequences(self.train.pixels[chosen], self.settings.noise_variance, [self.settings.seed, 1, step])
        y = torch.from_numpy(self.train.labels[chosen].astype(np.int64))
        x, y = self.share(x, 1).to(self.device), self.share(y, 0).to(self.device)
        return functional.cross_entropy(self._logits(x), y)

    def update(self, step: int) -> None:
        """Clip the norm of the gradient and take an optimizer step."""
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        super().update(step)

    def validation(self, step: int) -> dict[str, Tensor]:  # noqa: ARG002 - the same images every time
        """Mean cross-entropy of all validation images, the fraction that is classified correctly, and the contrast."""
        loss = torch.zeros((), device=self.device)
        correct = torch.zeros((), device=self.device)
        count = len(self.test_labels)
        size = self.settings.eval_batch
        parts = zip(torch.split(self.test_sequences, size, 1), torch.split(self.test_labels, size), strict=True)
        for x, y in parts:
            logits, labels = self._logits(x.to(self.device)), y.to(self.device)
            loss += functional.cross_entropy(logits, labels, reduction="sum")
            correct += (logits.argmax(1) == labels).sum()
        return {VALIDATION: loss / count, ACCURACY: correct / count, **self._contrast()}

    def _contrast(self) -> dict[str, Tensor]:
        """The contrast that the first norm leaves; empty for a model without a window."""
        if self.window is None:
            return {}
        weight, bias = (self.model.lstm.get_parameter(name) for name in ("weight_ih_l0", "bias_ih_l0"))
        inside = self.settings.bias_placement == "inside"
        return {CONTRAST: contrast(weight, bias if inside else torch.zeros_like(bias), self.window, self.settings.eps)}

    def _logits(self, x: Tensor) -> Tensor:
        """Logits (B, 10) after the last pixel of x (784, B, 1)."""
        logits: Tensor = self.model(x)[-1]
        return logits
