"""Counts what a computation does, for tests of what it costs."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class CountOperations(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch's class is untyped
    """Counts every operation that reaches the dispatcher below autograd, and the elements that they write."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # the same
        self.count = 0
        self.elements = 0

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run `func` and count it."""
        self.count += 1
        out = func(*args, **(kwargs or {}))
        self.elements += out.numel() if isinstance(out, Tensor) else 0
        return out
