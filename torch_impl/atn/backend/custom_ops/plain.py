"""Calls of kernels without the dispatch of a registered operator, which costs more than a single step.

The registered operator serves whoever looks at a call from outside: a compiler, a mode, a transform, a subclass of
Tensor. A plain call has no such observer. It runs the kernel, and where a gradient is wanted, lets autograd record it.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

PLAIN = frozenset((Tensor, Parameter))
"""Types of tensors that mean no more than their numbers."""

_PLAIN_ARGUMENTS = PLAIN | {type(None), int, float, bool, str}


def is_plain(arguments: Iterable[object]) -> bool:
    """Whether a kernel may be called directly: nothing traces or watches the call, and no argument is of a subclass."""
    return (
        not torch.compiler.is_compiling()
        and torch._C._len_torch_dispatch_stack() == 0  # noqa: SLF001 - torch has no public function for this
        and torch._C._get_tracing_state() is None  # noqa: SLF001 - as above
        and _PLAIN_ARGUMENTS.issuperset(map(type, arguments))
    )


def gradient_is_wanted(arguments: Iterable[object]) -> bool:
    """Whether autograd records operations on these arguments."""
    return torch.is_grad_enabled() and any(isinstance(value, Tensor) and value.requires_grad for value in arguments)


def in_memory(argument: Any) -> Any:
    """A tensor as a kernel reads it: contiguous, and with the sign or the zeros that torch may only imply."""
    if not isinstance(argument, Tensor):
        return argument
    if argument._is_zerotensor():  # noqa: SLF001 - torch has no public function for this
        return torch.zeros(argument.shape, dtype=argument.dtype, device=argument.device)
    return argument.resolve_neg().contiguous()


def direct(registered: Callable[..., Any], compute: Callable[..., Any]) -> Callable[..., Any]:
    """The operator `registered`, or `compute`, which runs its kernel, for a plain call that wants no gradient."""

    def call(*arguments: Any) -> Any:
        return compute(*arguments) if is_plain(arguments) else registered(*arguments)

    return call


def recorded(
    registered: Callable[..., Any],
    compute: Callable[..., Any],
    keep: Callable[[Any, tuple[Any, ...], Any], None],
    gradient: Callable[..., tuple[Tensor | None, ...]],
) -> Callable[..., Any]:
    """The same for an operator with a gradient: `keep` and `gradient` are as in `torch.library.register_autograd`."""

    class Recorded(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *arguments: Any) -> Any:
            computed = compute(*arguments)
            keep(ctx, arguments, computed)
            return computed

        @staticmethod
        def backward(ctx: Any, *upstream: Any) -> Any:
            return gradient(ctx, *upstream)

    def call(*arguments: Any) -> Any:
        if not is_plain(arguments):
            return registered(*arguments)
        return Recorded.apply(*arguments) if gradient_is_wanted(arguments) else compute(*arguments)  # type: ignore[no-untyped-call]  # torch's

    return call
