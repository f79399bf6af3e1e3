"""What every recurrent module of the library does alike: layers, directions, layouts, streams, parameters by name."""

import inspect
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, ClassVar, Unpack, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from atn.backend.interface import Settings
from atn.backend.registry import Backend, backend_for, check_backend
from atn.cells.short_way import ShortWay
from atn.choices import BiasPlacement, Init, Norm
from atn.layers.carried import Carried, map_memory, run_pieces, without_batch
from atn.layers.initial_state import Chunk, Shape, StateKind, check_reset, initial_states, streamed_states
from atn.layers.initialization import FILLS, start_anew
from atn.layers.packing import Steps, StepsPacked, StepsTogether
from atn.layers.stack import CellFunction, Layer, Weights, run_stack
from atn.norms.gain_shift import affine_of
from atn.norms.interface import LayerNorm, NormArguments, NormOptions
from atn.norms.registry import checked_norm
from atn.norms.rows import to_unit_rows
from atn.precision import compute_dtype, data_dtype, full_precision, state_dtype
from atn.state import StreamOrigin
from atn.validation import (
    check_choice,
    check_flag,
    check_floating,
    check_matches,
    check_shape,
    check_steps,
    probability,
    whole_number,
)

PARAMETERS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
"""Parameters of a layer and direction that a module of torch has too, in its order."""


class RecurrentLayers(nn.Module, ABC):
    """Layers of one cell; the arguments, shapes and errors are documented by the modules themselves.

    A cell is a subclass with the attributes below and `_cell`, a documented `forward` and `stream`, and `_sites` where
    it has more norms than those around its two products.
    """

    gates: ClassVar[int]
    """Number of blocks of H rows in W_ih and W_hh."""
    state_names: ClassVar[tuple[str, ...]]
    """Names of the states, h first: it is the output. The others are carried in float32 at least."""
    state_type: ClassVar[type[tuple[Any, ...]]]
    """Named tuple that a stream carries: the states, `memory`, `lengths` and `origin`."""
    weights_type: ClassVar[Callable[..., Weights]]
    """Named tuple of a layer's parameters: `PARAMETERS`, then the norms of `_sites`."""

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        *,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        k: int | None,
        norm: Norm,
        eps: float,
        affine: bool,
        bias_placement: BiasPlacement,
        init: Init,
        backend: str,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
        proj_size: int = 0,
        **options: Unpack[NormOptions],
    ) -> None:
        super().__init__()
        self.mode = mode
        """Name of the cell, as `torch.nn.RNNBase` has it."""
        self.input_size = whole_number("input_size", input_size)
        self.hidden_size = whole_number("hidden_size", hidden_size)
        self.num_layers = whole_number("num_layers", num_layers)
        self.dropout = probability("dropout", dropout)
        flags = {"bias": bias, "batch_first": batch_first, "bidirectional": bidirectional, "affine": affine}
        for name, flag in flags.items():
            check_flag(name, flag)
        self.bias, self.batch_first, self.bidirectional = bias, batch_first, bidirectional
        check_choice("bias_placement", bias_placement, get_args(BiasPlacement))
        if unknown := options.keys() - NormArguments._fields:
            raise TypeError(f"{min(unknown)} is no argument of {type(self).__name__}, got {options!r}")
        arguments = NormArguments(k, eps, affine, bias_placement, **options)
        self._norm: LayerNorm = checked_norm(norm, arguments, tuple(self._sites()))
        self.norm: Norm = norm
        self.norm_options: NormOptions = options
        check_choice("init", init, get_args(Init))
        self.bias_placement: BiasPlacement = bias_placement
        self.init: Init = init
        check_backend(backend, mode, self._norm.rare)
        self.backend = backend
        if proj_size != 0:
            raise ValueError(f"proj_size must be 0, projections are not supported, got {proj_size!r}")
        self.proj_size = 0
        if self.dropout > 0 and num_layers == 1:
            warnings.warn(
                f"dropout={dropout} has no effect with num_layers=1: it acts on every layer's output but the last's",
                stacklevel=3,
            )
        for suffix, inputs in self._layers():
            self._register_layer(suffix, inputs, device, dtype)
        self._short_way = ShortWay.of(self, self._norm)

    # ------------------------------------------------------------------------------------------------------ the cell

    @abstractmethod
    def _cell(self, backend: Backend, norm: Settings | None, *, every_state: bool) -> CellFunction:
        """The function of a backend that runs one layer in one direction, with these settings of the norm.

        Where `every_state` is false, it may return the states beside h after the last step alone.
        """

    def _sites(self) -> dict[str, int]:
        """Names of the norms of a layer, and the number of features of each."""
        rows = self.gates * self.hidden_size
        return {"norm_ih": rows, "norm_hh": rows}

    def _weights(self, suffix: str) -> Weights:
        """Parameters of one layer and direction, read by attribute: a parametrization may stand in their place."""
        parameters = (getattr(self, f"{name}_{suffix}", None) for name in PARAMETERS)
        norms = (getattr(self, f"{name}_{suffix}", None) for name in self._sites())
        return type(self).weights_type(*parameters, *map(affine_of, norms))

    def _state(self, carried: Carried) -> tuple[Any, ...]:
        """What a stream carries, from parts without a batch where the input had none."""
        make: Callable[..., tuple[Any, ...]] = self.state_type
        return make(*carried.states, carried.memory, carried.lengths, self.stream_origin)

    def _fill(self, name: str, values: Tensor) -> None:
        """First values of the parameter `name`, one of `PARAMETERS`, filled in place."""
        FILLS[self.init](name, values, self.hidden_size)
        self._norm.filled(name, values)

    # -------------------------------------------------------------------------------------- settings and parameters

    @property
    def k(self) -> int | None:
        """Length of the window; None where the norm has none to choose."""
        return self._norm.k

    @property
    def eps(self) -> float:
        """Added to each variance under the root."""
        return self._norm.eps

    @property
    def affine(self) -> bool:
        """Whether each norm has a gain and a shift."""
        return self._norm.affine

    @property
    def stream_origin(self) -> StreamOrigin:
        """Settings that a stream's state carries, by which `stream` knows the states of this module."""
        return self._norm.origin()._replace(mode=self.mode)

    @property
    def all_weights(self) -> list[list[Tensor]]:
        """The parameters that a module of torch has too, by layer and direction, as `torch.nn.RNNBase` gives them."""
        return [[getattr(self, f"{name}_{suffix}") for name in self.parameter_names] for suffix, _ in self._layers()]

    @property
    def _flat_weights(self) -> list[Tensor]:
        return [weight for weights in self.all_weights for weight in weights]

    def reset_parameters(self) -> None:
        """Start all parameters anew, as `init` says; gains are 1 and shifts 0.

        What stands behind a parametrization, pruning, weight or spectral normalization is started anew, too.
        """
        for suffix, _ in self._layers():
            for name in self.parameter_names:
                start_anew(self, f"{name}_{suffix}", partial(self._fill, name))
            for name, site in self._modules_of(suffix).items():
                weight = getattr(self, f"{name.replace('norm', 'weight')}_{suffix}", None)
                self._norm.start(site, weight)

    def project_rows_(self) -> None:
        """Bring every row of the weights to length 1, in place, for the norms that take the direction alone.

        Norm-Prop does so after each step of the optimizer, since the rows of a normalized weight can only grow under
        gradient steps, and long rows learn slowly. No output changes. A hook does it:

            optimizer.register_step_post_hook(lambda *_: lstm.project_rows_())

        Raises
        ------
        ValueError
            The norm is neither "prop" nor "wn": the lengths then count.
        TypeError
            A weight is no parameter, as behind a parametrization.
        """
        if not self._norm.by_direction:
            raise ValueError(f"project_rows_ needs norm='prop' or 'wn', got {self.norm!r}: its output would change")
        for name in (f"{name}_{suffix}" for suffix, _ in self._layers() for name in PARAMETERS[:2]):
            if not isinstance(weight := getattr(self, name), nn.Parameter):
                raise TypeError(f"{name} must be a parameter, got {type(weight).__name__}")
            to_unit_rows(weight)

    def flatten_parameters(self) -> None:
        """Do nothing: `torch.nn.RNNBase` has this method, and code written for it calls it."""

    def extra_repr(self) -> str:
        """Sizes, and the settings that differ from their defaults."""
        parameters = inspect.signature(type(self).__init__).parameters
        settings = {name: getattr(self, name) for name in parameters if hasattr(self, name)}
        changed = [f"{name}={value!r}" for name, value in settings.items() if value != parameters[name].default]
        return ", ".join(changed + [f"{name}={value!r}" for name, value in self.norm_options.items()])

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Those of `PARAMETERS` that a layer has."""
        return PARAMETERS if self.bias else PARAMETERS[:2]

    @property
    def norm_sites(self) -> tuple[str, ...]:
        """Names of the norms of a layer."""
        return tuple(self._sites())

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _layers(self) -> Iterator[tuple[str, int]]:
        """Suffix of the parameter names and number of input features, by layer and direction."""
        for layer in range(self.num_layers):
            for direction in ("", "_reverse")[: self._directions]:
                yield f"l{layer}{direction}", self.input_size if layer == 0 else self.hidden_size * self._directions

    def _register_layer(
        self, suffix: str, inputs: int, device: torch.device | str | None, dtype: torch.dtype | None
    ) -> None:
        shapes = self._shapes(inputs)
        for name in self.parameter_names:
            parameter = nn.Parameter(torch.empty(shapes[name], device=device, dtype=dtype))
            self.register_parameter(f"{name}_{suffix}", parameter)
        for name, features in self._sites().items():
            if (site := self._norm.site(name, features, device, dtype)) is not None:
                self.register_module(f"{name}_{suffix}", site)

    def _shapes(self, inputs: int) -> dict[str, tuple[int, ...]]:
        """Shapes of a layer's parameters, and of gain and shift of its norms."""
        H, rows = self.hidden_size, self.gates * self.hidden_size
        shapes = {"weight_ih": (rows, inputs), "weight_hh": (rows, H), "bias_ih": (rows,), "bias_hh": (rows,)}
        return {**shapes, **{name: (features,) for name, features in self._sites().items()}}

    def _modules_of(self, suffix: str) -> dict[str, nn.Module]:
        """The modules at the sites of a layer and direction, by name of the site."""
        modules = {name: getattr(self, f"{name}_{suffix}", None) for name in self._sites()}
        return {name: module for name, module in modules.items() if module is not None}

    # ------------------------------------------------------------------------------------------------------- running

    def _kind(self) -> StateKind:
        return StateKind(self.state_names, self.state_type, self.stream_origin)

    def _state_shape(self, B: int) -> Shape:
        return self.num_layers * self._directions, B, self.hidden_size

    def _start(self, hx: Any, data: Tensor, B: int, *, batched: bool) -> Carried:
        """States `hx` or zeros, and no window yet."""
        states = initial_states(hx, data, self._state_shape(B), self._kind(), batched=batched)
        return Carried(states, (None,) * (self.num_layers * self._directions), None)

    def _forward(self, x: Tensor | PackedSequence, hx: Any) -> tuple[Tensor | PackedSequence, Any]:
        """Run whole sequences; or the next chunk of a stream, which comes this way so that hooks run."""
        if isinstance(hx, Chunk):
            return (self._short_way and self._short_way.stream(self, x, hx)) or self._next(x, hx)
        if self._short_way and (inferred := self._short_way.forward(self, x, hx)):
            return inferred
        if isinstance(x, PackedSequence):
            return self._forward_packed(x, hx)
        data, batched = self._time_major(x)
        out, carried = self._run(data, self._start(hx, data, data.shape[1], batched=batched), StepsTogether())
        states = tuple(state.to(x.dtype) for state in without_batch(carried.states, batched=batched))
        return self._laid_out(out, batched=batched).to(x.dtype), states if len(states) > 1 else states[0]

    def _forward_packed(self, x: PackedSequence, hx: Any) -> tuple[PackedSequence, Any]:
        if self._norm.couples_cases:
            raise ValueError(
                f"input must be no PackedSequence for {self._norm.rare}, whose statistics are of all cases of a step: "
                "cases of other lengths would leave them, got PackedSequence"
            )
        check_floating("input.data", x.data)
        check_steps("input.data", x.data, "(S, I)", self.input_size)
        steps = StepsPacked(x.batch_sizes, x.data.device)
        start = self._start(hx, x.data, int(x.batch_sizes[0]), batched=True)
        if x.sorted_indices is not None:
            start = start._replace(states=tuple(state[:, x.sorted_indices] for state in start.states))
        out, carried = self._run(x.data, start, steps)
        states = tuple(state.to(x.data.dtype) for state in carried.states)
        if x.unsorted_indices is not None:
            states = tuple(state[:, x.unsorted_indices] for state in states)
        packed = PackedSequence(out.to(x.data.dtype), x.batch_sizes, x.sorted_indices, x.unsorted_indices)
        return packed, states if len(states) > 1 else states[0]

    def _next(self, x: Any, chunk: Chunk) -> tuple[Tensor, tuple[Any, ...]]:
        if self._norm.couples_cases:
            raise ValueError(
                f"stream must not be called for {self._norm.rare}, whose population statistics are by time step from "
                "the first on: no state of a case holds them"
            )
        if self.bidirectional:
            raise ValueError("stream needs bidirectional=False, got True: the reverse direction starts from the end")
        data, batched = self._time_major(x)
        T, B, _ = data.shape
        if chunk.state is None:
            carried = self._start(None, data, B, batched=batched)
        else:
            carried = streamed_states(
                chunk.state, data, self._state_shape(B), self._kind(), self._norm.window, batched=batched
            )
        restarts = check_reset(chunk.reset, T, B, batched=batched, batch_first=self.batch_first)
        out, carried = run_pieces(partial(self._run, steps=StepsTogether()), data, carried, restarts)
        # A backend that takes 16-bit data as it is gives h in 16 bits; a state has one dtype.
        states = tuple(state.to(compute_dtype([x])) for state in carried.states)
        # The windows are the last rows of what was computed: copies hold no more than they show.
        memory = map_memory(carried.memory, torch.clone)
        after = Carried(without_batch(states, batched=batched), memory, carried.lengths)
        return self._laid_out(out, batched=batched).to(x.dtype), self._state(after)

    def _run(self, data: Tensor, carried: Carried, steps: Steps) -> tuple[Tensor, Carried]:
        """Run all layers in the dtype that is computed in, which is the dtype of the result."""
        layers, parameters = self._checked_layers(data)
        # Kernels need not know a batch without cases, whose gradients are zeros.
        backend = backend_for("eager" if data.numel() == 0 else self.backend, data.device, self.mode, self._norm.rare)
        tensors = [data, *parameters]
        dtype = data_dtype(tensors, data.device) if backend.half else compute_dtype(tensors)
        output, *others = carried.states
        states = (output.to(dtype), *(state.to(state_dtype(dtype)) for state in others))
        D = self._directions
        with full_precision(data.device):
            folded = [self._norm.folded(layer) for layer in layers]
            as_they_are = all(result is layer for result, layer in zip(folded, layers, strict=True))
            if not as_they_are or any(parameter.dtype != dtype for parameter in parameters):
                folded = [layer._replace(weights=layer.weights.to(dtype)) for layer in folded]
            return run_stack(
                data.to(dtype),
                steps,
                [folded[first : first + D] for first in range(0, len(folded), D)],
                carried._replace(states=states),
                run=partial(self._norm.run, partial(self._cell, backend, every_state=steps.ends_differ)),
                dropout=self.dropout if self.training else 0.0,
            )

    def _checked_layers(self, data: Tensor) -> tuple[list[Layer], list[Tensor]]:
        """The layers, and all their parameters, which match the input and have the shapes of the module."""
        layers: list[Layer] = []
        parameters: list[Tensor] = []
        first = like = None
        for suffix, inputs in self._layers():
            layer = Layer(self._weights(suffix), self._modules_of(suffix))
            # One that was replaced, by assignment or by torch.func.functional_call, may have any shape.
            shapes = self._shapes(inputs)
            for name, tensor in layer.weights.named(suffix):
                if first is None or like is None:
                    check_matches("input", data, name, tensor)
                    first, like = name, tensor
                check_matches(name, tensor, first, like)
                shape = shapes[name.partition(f"_{suffix}")[0]]
                check_shape(name, tensor, shape, "(rows, columns)" if len(shape) > 1 else "(N,)")
                parameters.append(tensor)
            layers.append(layer)
        return layers, parameters

    def _time_major(self, x: Any) -> tuple[Float[Tensor, "T B I"], bool]:
        """Checked input as (T, B, I), and whether it had a batch."""
        check_floating("input", x)
        batched = x.ndim != 2
        letters = ("(B, T, I)" if self.batch_first else "(T, B, I)") if batched else "(T, I)"
        check_steps("input", x, letters, self.input_size, empty="B")
        if not batched:
            return x.unsqueeze(1), batched
        return x.transpose(0, 1) if self.batch_first else x, batched

    def _laid_out(self, output: Float[Tensor, "T B F"], *, batched: bool) -> Tensor:
        """Output in the layout of the input."""
        if not batched:
            return output.squeeze(1)
        return output.transpose(0, 1) if self.batch_first else output
