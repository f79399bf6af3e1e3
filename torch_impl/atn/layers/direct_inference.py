"""Inference of a module by one call of a backend for all its layers, where nothing but the numbers is asked for.

A step of one case takes less time than the checks and the named tuples by which the general way can be traced,
transformed, differentiated and told what is wrong. Direct inference does without them. Wherever a call asks for one
of these, or anything about the module or its arguments is unusual, it returns None, and the general way is taken; also
where the backend refuses an argument, so that the error is that of the general way, which knows the argument by its
name.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple, TypeGuard

import torch
from torch import Tensor

from atn.backend.custom_ops.differentiable import transform_is_active
from atn.backend.custom_ops.plain import PLAIN
from atn.backend.interface import NormSettings, StackSettings
from atn.backend.registry import stack_for
from atn.layers.initial_state import Chunk
from atn.norms.gain_shift import GainShift
from atn.norms.interface import RecurrentNorm
from atn.precision import autocast_is_on
from atn.state import StreamOrigin
from atn.window import StepStatistics

COMPUTED = frozenset((torch.float32, torch.float64))


class DirectInference(NamedTuple):
    """What a call needs to know of a module, an `atn.layers.recurrent.RecurrentLayers`, which stays as it is.

    Attributes
    ----------
    mode
        Name of the cell.
    layers
        For each layer the names of its own parameters, and of the modules with gain and shift.
    state_type, memory_type
        Named tuples that a stream carries, and of a layer's windows in it.
    states
        Number of states of the cell.
    origin
        Settings that a stream's state carries.
    settings
        Sizes and norm.
    """

    mode: str
    layers: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
    state_type: type[tuple[Any, ...]]
    memory_type: type[tuple[Any, ...]]
    states: int
    origin: StreamOrigin
    settings: StackSettings

    @classmethod
    def of(cls, module: Any, norm: RecurrentNorm) -> "DirectInference | None":
        """Direct inference of a module; None where no backend runs all layers in one call."""
        settings = norm.settings()
        if module.bidirectional or not norm.is_plain or not (settings is None or isinstance(settings, NormSettings)):
            return None
        k, eps, placement = settings or (0, 0.0, "outside")
        affine = settings is not None and norm.affine
        names, sites = module.parameter_names, module.norm_sites if affine else ()
        layers = tuple(
            (tuple(f"{name}_l{layer}" for name in names), tuple(f"{name}_l{layer}" for name in sites))
            for layer in range(module.num_layers)
        )
        return cls(
            mode=module.mode,
            layers=layers,
            state_type=module.state_type,
            memory_type=module.memory_type,
            states=len(module.state_names),
            origin=module.stream_origin,
            settings=StackSettings(module.hidden_size, k, eps, module.bias, affine, placement == "inside"),
        )

    def forward(self, module: Any, x: Any, hx: Any) -> tuple[Tensor, Any] | None:
        """Output and last states of whole sequences."""
        if not _is_plain_inference(x, module):
            return None
        states = () if hx is None else hx if self.states > 1 else (hx,)
        if type(states) not in _PAIRS or len(states) != (0 if hx is None else self.states):
            return None
        ran = self._run(module, x, states, [])
        if ran is None:
            return None
        output, states, _ = ran
        return output, states if self.states > 1 else states[0]

    def stream(self, module: Any, x: Any, chunk: Chunk) -> tuple[Tensor, tuple[Any, ...]] | None:
        """Output and next state of a chunk that continues the stream."""
        state = chunk.state
        if (
            not _is_plain_inference(x, module)
            or chunk.reset is not None
            or not _is_of(self.state_type, state)
            or state.lengths is not None
            or type(state.origin) is not StreamOrigin
            or state.origin != self.origin
            or type(state.memory) is not tuple
            or len(state.memory) != len(self.layers)
        ):
            return None
        windows = self._windows(state.memory)
        ran = None if windows is None else self._run(module, x, state[: self.states], windows)
        if ran is None:
            return None
        output, states, left = ran
        memory = tuple(layer and _like(layer, left) for layer in state.memory)
        make: Any = self.state_type
        return output, make(*states, memory, None, self.origin)

    def _run(
        self,
        module: Any,
        x: Tensor,
        states: Sequence[Any],  # Any: tensors, if they are right
        windows: list[Any],
    ) -> tuple[Tensor, tuple[Tensor, ...], Iterator[Tensor]] | None:
        """Run all layers from states, none for zeros, and windows, none if empty."""
        stack = stack_for(module.backend, x.device.type, self.mode)
        parameters = self._parameters(module)
        if stack is None or parameters is None or not PLAIN.issuperset(map(type, (*parameters, *states, *windows))):
            return None
        batched = x.ndim == 3
        if not batched and (x.ndim != 2 or any(state.ndim != 2 for state in states)):
            return None
        try:
            if not batched:
                x, states = x.unsqueeze(1), [state.unsqueeze(1) for state in states]
            elif module.batch_first:
                x = x.transpose(0, 1)
            output, after, left = stack(x, parameters, states, windows, self.settings)
        except (TypeError, ValueError, RuntimeError):  # the last of tensors that are not dense
            return None  # the general way says what is wrong
        if not batched:
            return output.squeeze(1), tuple(state.squeeze(1) for state in after), iter(left)
        return output.transpose(0, 1) if module.batch_first else output, after, iter(left)

    def _windows(self, memory: tuple[Any, ...]) -> list[Any] | None:  # Any: `_run` looks at their types
        """Mean and variance of every norm of every layer, in one list; None where they are not what a stream carries.

        A cell without a norm carries None for each layer.
        """
        kind = self.memory_type if self.settings.k > 0 else type(None)
        if any(type(layer) is not kind for layer in memory):
            return None
        steps = [steps for layer in memory if layer is not None for steps in layer]
        return None if any(type(pair) is not StepStatistics for pair in steps) else [*chain.from_iterable(steps)]

    def _parameters(self, module: Any) -> list[Any] | None:  # Any: as of `_windows`
        """The parameters by layer; None where something, such as a parametrization, stands in the place of one."""
        parameters, modules = module._parameters, module._modules  # noqa: SLF001 - attributes are ten times as slow
        found: list[Any] = []
        try:
            for names, sites in self.layers:
                found += [parameters[name] for name in names]
                for site in sites:
                    if type(modules[site]) is not GainShift or modules[site]._forward_pre_hooks:  # noqa: SLF001 - as above
                        return None
                    of_site = modules[site]._parameters  # noqa: SLF001 - as above
                    found += (of_site["weight"], of_site["bias"])
        except (KeyError, AttributeError):
            return None
        return found


_PAIRS = (tuple, list)


def _is_plain_inference(x: object, module: Any) -> TypeGuard[Tensor]:
    """Whether a call with this input asks for numbers alone: no gradient, tracing, transform, mode or autocast."""
    return (
        not torch.compiler.is_compiling()
        and not torch.is_grad_enabled()
        and isinstance(x, Tensor)
        and type(x) in PLAIN
        and x.dtype in COMPUTED
        and x.numel() > 0
        and not (module.training and module.dropout > 0 and module.num_layers > 1)
        and not transform_is_active()
        and not autocast_is_on(x.device)
        and torch._C._len_torch_dispatch_stack() == 0  # noqa: SLF001 - torch has no public function for this
        and torch._C._get_tracing_state() is None  # noqa: SLF001 - as above
    )


def _is_of(state_type: type[Any], state: Any) -> bool:
    """Whether the state is of this type, and of no subclass."""
    return type(state) is state_type


def _like(layer: Any, left: Iterator[Tensor]) -> Any:
    """The windows of a layer from the next of `left`, of the type of `layer`."""
    return type(layer)(*(StepStatistics(next(left), next(left)) for _ in layer))
