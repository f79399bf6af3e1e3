"""Everything that is measured, by one signature: a size -> a module x (T, B, I) -> output (T, B, H)."""

import importlib.util
from collections.abc import Callable
from functools import partial
from importlib import metadata
from typing import NamedTuple

import torch
from torch import nn

import atn
from atn.choices import Norm
from benchmarks.peers.compiled import CompiledATNLoop, CompiledLayerNormLoop
from benchmarks.peers.plain import CellLoop, LayerNormCalls, LayerNormLoop, ObviousATNLoop, OutputOnly
from benchmarks.sizes import Device, DType, Group, Size

DTYPES: dict[DType, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Variant(NamedTuple):
    """One way to run a layer. Can be pickled, so that another process can build it."""

    name: str
    norm: Norm
    """The function that it computes, as the argument `norm` of `ATNLSTM`."""

    build: Callable[[Size], nn.Module]
    backend: str | None = None
    """The backend of an `ATNLSTM`; None for a peer."""

    package: str | None = None
    """An optional package that the variant needs, of the dependency group `peers`."""


BACKENDS: dict[Device, tuple[str, ...]] = {"cpu": ("eager", "fused"), "cuda": ("eager", "triton")}
"""Backends that are measured on a kind of device."""

BASELINE = "nn.LSTM"
"""The variant that all ratios refer to."""


def peers() -> list[Variant]:
    """The implementations other than ATNLSTM, the baseline first."""
    return [
        Variant(BASELINE, "none", _lstm),
        Variant("loop over nn.LSTMCell", "none", _cell_loop),
        Variant("nn.LSTM + 3 T LayerNorm calls", "none", _layer_norm_calls),
        Variant("LN-LSTM cell loop", "ln", _layer_norm_loop),
        Variant("obvious ATN", "atn", _obvious_atn),
    ]


def frameworks() -> list[Variant]:
    """What a user could take from compilers and other packages; each is in the list whether it is installed or not."""
    return [
        Variant("LN-LSTM, torch.compile", "ln", _compiled_layer_norm),
        Variant("ATN-LSTM, torch.compile", "atn", _compiled_atn),
        Variant("LN-LSTM, JAX", "ln", _jax_layer_norm, package="jax"),
        Variant("ATN-LSTM, JAX", "atn", _jax_atn, package="jax"),
        Variant("PeepholeLSTM, torchrecurrent", "none", _peephole, package="torchrecurrent"),
    ]


def package_versions() -> dict[str, str]:
    """Versions of the optional packages that are installed."""
    packages = {variant.package for variant in frameworks() if variant.package is not None}
    return {package: metadata.version(package) for package in sorted(packages) if installed(package)}


def installed(package: str) -> bool:
    """Whether an optional package can be imported; found without importing it."""
    return importlib.util.find_spec(package) is not None


def ours(device: Device) -> list[Variant]:
    """`ATNLSTM` with each norm and each backend that runs on the device."""
    norms: tuple[Norm, ...] = ("atn", "ln", "none")
    names = [info.name for info in atn.backends() if info.available and info.name in BACKENDS[device]]
    return [
        Variant(f"ATNLSTM {norm}, {backend}", norm, partial(_atn, norm=norm, backend=backend), backend)
        for backend in names
        for norm in norms
    ]


class Entry(NamedTuple):
    """A variant at a size."""

    variant: Variant
    size: Size

    def module(self, device: torch.device) -> nn.Module:
        """The variant at the size, in its dtype.

        Raises
        ------
        RuntimeError
            If the variant needs a package that is not installed.
        """
        package = self.variant.package
        if package is not None and not installed(package):
            raise RuntimeError(f"{package} is not installed (pip install --group peers)")
        return self.variant.build(self.size).to(device, DTYPES[self.size.dtype])


def entries(group: Group, device: Device) -> list[Entry]:
    """What `group` measures, the baseline first; on the axes, of the peers the baseline alone.

    Compilers and other packages have groups of their own, with the fastest backend of ours in the same rounds.
    """
    if group.frameworks:
        fastest = [variant for variant in ours(device) if variant.backend == BACKENDS[device][-1]]
        variants = [*peers()[:1], *frameworks(), *fastest]
    elif group.axis is None:
        variants = peers() + ours(device)
    else:
        variants = peers()[:1] + [variant for variant in ours(device) if variant.norm != "none"]
    return [
        Entry(variant, size)
        for variant in variants
        for size in (group.sizes if variant.norm == "atn" else group.sizes[:1])
    ]


def _lstm(size: Size) -> nn.Module:
    return OutputOnly(nn.LSTM(size.I, size.H))


def _cell_loop(size: Size) -> nn.Module:
    return CellLoop(size.I, size.H)


def _layer_norm_calls(size: Size) -> nn.Module:
    return LayerNormCalls(size.I, size.H)


def _layer_norm_loop(size: Size) -> nn.Module:
    return LayerNormLoop(size.I, size.H)


def _obvious_atn(size: Size) -> nn.Module:
    return ObviousATNLoop(size.I, size.H, size.k)


def _atn(size: Size, norm: Norm, backend: str) -> nn.Module:
    k = size.k if norm == "atn" else None
    return OutputOnly(atn.ATNLSTM(size.I, size.H, k=k, norm=norm, backend=backend))


def _compiled_layer_norm(size: Size) -> nn.Module:
    return CompiledLayerNormLoop(size.I, size.H)


def _compiled_atn(size: Size) -> nn.Module:
    return CompiledATNLoop(size.I, size.H, size.k)


def _jax_layer_norm(size: Size) -> nn.Module:
    from benchmarks.peers.jax_scan import jax_layer_norm  # noqa: PLC0415 - needs an optional package

    return jax_layer_norm(size.I, size.H)


def _jax_atn(size: Size) -> nn.Module:
    from benchmarks.peers.jax_scan import jax_assorted_time_norm  # noqa: PLC0415 - needs an optional package

    return jax_assorted_time_norm(size.I, size.H, size.k)


def _peephole(size: Size) -> nn.Module:
    from benchmarks.peers.peephole import PeepholeLSTM  # noqa: PLC0415 - needs an optional package

    return PeepholeLSTM(size.I, size.H)
