"""What computes for a backend, put in its place for the time of a test."""

import pytest

from atn.backend.fused import backend as fused
from atn.backend.fused import fallback

KERNELS = ("eager", "compiled", "fallback", "triton")
"""What there is on a CPU; the kernels of the last one are interpreted."""


def backend_with(kernels: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of the backend, in which one of `KERNELS` computes."""
    if kernels == "fallback":
        monkeypatch.setattr(fused, "kernels", lambda: fallback)
    return "fused" if kernels in {"compiled", "fallback"} else kernels
