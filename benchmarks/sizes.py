"""The sizes of the measurements: four named sizes, and four axes through a moderate size."""

from dataclasses import dataclass, replace
from typing import Literal

Axis = Literal["k", "T", "H", "B"]
DType = Literal["float32", "bfloat16"]
Device = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class Size:
    """One layer on one batch: x (T, B, I), hidden size H, window length k, and the dtype of data and parameters."""

    T: int
    B: int
    I: int
    H: int
    k: int
    dtype: DType = "float32"

    @property
    def numbers(self) -> int:
        """Count T*B*H of the numbers in the output."""
        return self.T * self.B * self.H

    def __str__(self) -> str:
        numbers = f"T={self.T} B={self.B} I={self.I} H={self.H} k={self.k}"
        return numbers if self.dtype == "float32" else f"{numbers} {self.dtype}"


@dataclass(frozen=True)
class Group:
    """Sizes that are measured together, in turns. Variants with a window run at every size, the others at the first.

    The sizes differ only in k, on which a variant without a window does not depend.
    """

    name: str
    axis: Axis | None
    """The axis of which the group is a point, or all of axis k; None for a named size, at which the peers run too."""

    sizes: tuple[Size, ...]
    frameworks: bool = False
    """Whether compilers and other packages run, instead of the plain peers."""

    @property
    def weight(self) -> int:
        """Share of the measuring time, relative to the shares of the other groups."""
        size = self.name.removeprefix(FRAMEWORKS + ":")
        return WEIGHTS.get(size.partition(",")[0], 1)


WEIGHTS = {"char-ptb": 12, "pixels": 12, "k": 4, "copying": 2, "adding": 2}
"""Shares of the groups that need more time than a point on an axis, so that all run in enough rounds."""

FRAMEWORKS = "frameworks"
"""Name of the groups in which compilers and other packages run, all of them."""

_ANYWHERE = {
    "copying": Size(120, 128, 10, 68, 45),  # the paper's copying problem, T = 100
    "adding": Size(100, 50, 2, 60, 25),  # its adding problem, T = 100
    "char-ptb": Size(220, 32, 200, 1000, 10),  # its characters of the Penn Treebank, embedded
    "pixels": Size(784, 128, 1, 128, 10),  # images read pixel by pixel
}

_ON_GPU = {f"{name}, bfloat16": replace(_ANYWHERE[name], dtype="bfloat16") for name in ("copying", "char-ptb")}

NAMED: dict[Device, dict[str, Size]] = {"cpu": _ANYWHERE, "cuda": _ANYWHERE | _ON_GPU}
"""Named sizes by kind of device. Only GPUs have sizes in 16 bits, in which their products are several times faster."""

NAMED_FOR_FRAMEWORKS: dict[Device, tuple[str, ...]] = {"cpu": ("copying", "adding"), "cuda": ()}
"""Named sizes at which compilers and other packages run, on the CPU alone."""

BASE = Size(100, 32, 32, 128, 10)
"""The size at which the axes cross."""

POINTS: dict[Axis, tuple[int, ...]] = {
    "k": (1, 2, 5, 10, 25, 50, 100, 200),
    "T": (50, 200, 800, 3200),
    "H": (32, 128, 512, 2048),
    "B": (1, 8, 64, 512),
}

BASE_OF_K = replace(BASE, T=400)
"""Twice as long as the longest window, so that it is full for half of the steps."""


def groups(device: Device, *, quick: bool = False) -> list[Group]:
    """All groups of a device; with `quick` the few small ones that check the code."""
    over_k = (1, 200) if quick else POINTS["k"]
    named = ("copying", "adding") if quick else tuple(NAMED[device])
    every = [Group(name, None, (NAMED[device][name],)) for name in named]
    every += [
        Group(f"{FRAMEWORKS}:{name}", None, (NAMED[device][name],), frameworks=True)
        for name in NAMED_FOR_FRAMEWORKS[device]
    ]
    every.append(Group("k", "k", tuple(replace(BASE_OF_K, k=k) for k in over_k)))
    if quick:
        return every
    every += [Group(f"T={T}", "T", (replace(BASE, T=T),)) for T in POINTS["T"]]
    every += [Group(f"H={H}", "H", (replace(BASE, H=H),)) for H in POINTS["H"]]
    every += [Group(f"B={B}", "B", (replace(BASE, B=B),)) for B in POINTS["B"]]
    return every


def chosen(every: list[Group], names: list[str]) -> list[Group]:
    """The groups with these names, on the axes with these names, or of the frameworks; all if there are no names.

    Raises
    ------
    ValueError
        For a name of neither a group nor an axis.
    """
    known = {name for group in every for name in _names(group)}
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"no size is called {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    return [group for group in every if not names or _names(group) & set(names)]


def _names(group: Group) -> set[str]:
    """Names by which a group can be chosen: its own, and that of the groups with which it belongs."""
    names = {group.name}
    if group.axis is not None:
        names.add(group.axis)
    if group.frameworks:
        names.add(FRAMEWORKS)
    return names
