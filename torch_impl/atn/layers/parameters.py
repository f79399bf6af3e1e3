"""The settings and the parameters of a recurrent module, by layer and direction."""

import inspect
import warnings
from abc import ABC
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, ClassVar, Unpack, get_args

import torch
from torch import Tensor, nn

from atn.backend.cell import Layer, Weights
from atn.backend.interface import Affine
from atn.backend.registry import check_backend
from atn.choices import BiasPlacement, Init, Norm
from atn.fixed_settings import FixedSettings
from atn.initialization import FILLS, start_anew
from atn.layers.direct_inference import DirectInference
from atn.norms.gain_shift import affine_of
from atn.norms.interface import NormArguments, NormOptions, RecurrentNorm
from atn.norms.registry import checked_norm
from atn.norms.rows import to_unit_rows
from atn.state import StreamOrigin
from atn.validation import (
    check_choice,
    check_dtype,
    check_flag,
    check_floating,
    check_matches,
    check_shape,
    is_default,
    probability,
    whole_number,
)

PARAMETERS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
"""Parameters of a layer and direction that a module of torch has too, in its order."""


class LayerParameters(FixedSettings, ABC):
    """Settings and parameters of layers of one cell.

    A cell says which gates it has, `_sites` where it has more norms than those around its two products, and how its
    layers run: that is `atn.layers.recurrent.RecurrentLayers`.
    """

    _fixed: ClassVar[frozenset[str]] = frozenset(
        ("mode", "input_size", "hidden_size", "num_layers", "bias", "bidirectional", "proj_size", "init")
    )
    gates: ClassVar[int]
    """Number of blocks of H rows in W_ih and W_hh."""
    state_names: ClassVar[tuple[str, ...]]
    """Names of the states, h first: it is the output. The others are carried in float32 at least."""
    state_type: ClassVar[type[tuple[Any, ...]]]
    """Named tuple that a stream carries: the states, `memory`, `lengths` and `origin`."""
    memory_type: ClassVar[type[tuple[Any, ...]]]
    """Named tuple of the windows of a layer that a stream carries."""
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
        self.dropout = dropout
        flags = {"bias": bias, "batch_first": batch_first, "bidirectional": bidirectional, "affine": affine}
        for name, flag in flags.items():
            check_flag(name, flag)
        self.bias, self.batch_first, self.bidirectional = bias, batch_first, bidirectional
        self._set_norm(norm, k, eps, affine, bias_placement, options, dtype)
        check_choice("init", init, get_args(Init))
        self.init: Init = init
        check_backend(backend, mode, self._norm.eager_only)
        self.backend = backend
        if proj_size != 0:
            raise ValueError(f"proj_size must be 0, projections are not supported, got {proj_size!r}")
        self.proj_size = 0
        if self.dropout > 0 and num_layers == 1:
            warnings.warn(
                f"dropout={dropout} has no effect with num_layers=1: it acts on every layer's output but the last's",
                stacklevel=3,
            )
        self._site_types: dict[str, type[nn.Module]] = {}
        self._site_parameters: dict[str, tuple[str, ...]] = {}
        for suffix, inputs in self._layers():
            self._register_layer(suffix, inputs, device, dtype)
        self._direct_inference = DirectInference.of(self, self._norm)

    def _set_norm(
        self,
        norm: Norm,
        k: int | None,
        eps: float,
        affine: bool,  # noqa: FBT001 - handed on
        bias_placement: BiasPlacement,
        options: NormOptions,
        dtype: torch.dtype | None,
    ) -> None:
        """Set what the module knows of its norm, checked for its cell and its dtype."""
        check_choice("bias_placement", bias_placement, get_args(BiasPlacement))
        if unknown := options.keys() - NormArguments._fields:
            raise TypeError(f"{min(unknown)} is no argument of {type(self).__name__}, got {options!r}")
        arguments = NormArguments(k, eps, affine, bias_placement, **options)
        self._norm: RecurrentNorm = checked_norm(norm, arguments, tuple(self._sites()))
        check_dtype(dtype)
        self._norm.check_range_in(dtype)
        self._norm_name: Norm = norm
        self._norm_options: NormOptions = options
        self._bias_placement: BiasPlacement = bias_placement

    def _sites(self) -> dict[str, int]:
        """Names of the norms of a layer, and the number of features of each."""
        rows = self.gates * self.hidden_size
        return {"norm_ih": rows, "norm_hh": rows}

    def _weights(self, suffix: str) -> Weights:
        """Parameters of one layer and direction, read by attribute: a parametrization may stand in their place."""
        parameters = [self._parameter(f"{name}_{suffix}") for name in self.parameter_names]
        norms = [self._affine(name, suffix) for name in self._sites()]
        absent = (None,) * (len(PARAMETERS) - len(parameters))
        return type(self).weights_type(*parameters, *absent, *norms)

    def _parameter(self, name: str) -> Tensor:
        """A parameter, or what stands in its place, read once: a parametrization may compute it anew each time."""
        value = getattr(self, name, None)
        if value is None:
            raise TypeError(f"{name} must be a tensor, got None")
        return value  # type: ignore[no-any-return]  # a tensor, which `_checked_layers` checks further

    def _affine(self, name: str, suffix: str) -> Affine | None:
        """Gain and shift of a norm, which is that of the module: another one in its place would not be called."""
        kind = self._site_types.get(name)
        if kind is None:
            return None
        site = getattr(self, f"{name}_{suffix}", None)
        if not isinstance(site, kind):
            raise TypeError(
                f"{name}_{suffix} must be the {kind.__name__} that the module made, got {type(site).__name__}"
            )
        # A site is never called: what pruning and weight normalization compute before a call is computed here.
        for key, hook in site._forward_pre_hooks.items():  # noqa: SLF001 - torch has no public name for them
            if key not in site._forward_pre_hooks_with_kwargs:  # noqa: SLF001 - as above
                _called_without_input(f"{name}_{suffix}", hook, site)
        affine = affine_of(site)
        found = () if affine is None else ("weight",) if affine.beta is None else ("weight", "bias")
        for parameter in self._site_parameters[name]:
            if parameter not in found:
                raise TypeError(f"{name}_{suffix}.{parameter} must be a tensor, got None")
        return affine

    def _fill(self, name: str, values: Tensor) -> None:
        """First values of the parameter `name`, one of `PARAMETERS`, filled in place."""
        FILLS[self.init](name, values, self.hidden_size)
        self._norm.filled(name, values)

    # -------------------------------------------------------------------------------------- settings and parameters

    @property
    def dropout(self) -> float:
        """Probability of dropping an output of any layer but the last; checked where it is assigned."""
        return self._dropout

    @dropout.setter
    def dropout(self, value: float) -> None:
        self._dropout = probability("dropout", value)

    @property
    def norm(self) -> Norm:
        """Name of the norm."""
        return self._norm_name

    @property
    def norm_options(self) -> NormOptions:
        """The arguments that some norms alone have, as they were given."""
        return self._norm_options

    @property
    def bias_placement(self) -> BiasPlacement:
        """Where the biases stand."""
        return self._bias_placement

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
        """Start all parameters anew: weights and biases as `init` says, gains where the norm has them, shifts at 0.

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
        changed = {name: value for name, value in settings.items() if not is_default(value, parameters[name].default)}
        return ", ".join(f"{name}={value!r}" for name, value in {**changed, **self.norm_options}.items())

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
                self._site_types[name] = type(site)
                self._site_parameters[name] = tuple(parameter for parameter, _ in site.named_parameters())
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

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        """Load what is there, and first add what the norm takes from the weights of a module without it."""
        for suffix, _ in self._layers():
            for name in self._site_types:
                self._add_gain(state_dict, prefix, name, suffix)
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    def _add_gain(self, state_dict: dict[str, Any], prefix: str, name: str, suffix: str) -> None:
        """Add the gain that follows from a weight, where the norm has one and the state dict nothing of the norm."""
        weight, site = f"{name.replace('norm', 'weight')}_{suffix}", f"{name}_{suffix}"
        value, own = state_dict.get(f"{prefix}{weight}"), self._parameters.get(weight)
        is_given = any(key.startswith(f"{prefix}{site}.") for key in state_dict)
        if is_given or not isinstance(value, Tensor) or own is None or value.shape != own.shape:
            return
        if "weight" in getattr(self, site)._parameters:  # noqa: SLF001 - getattr may return a computed tensor
            state_dict |= self._norm.gain_of(f"{prefix}{site}.weight", value)

    def _checked_layers(self, data: Tensor) -> tuple[list[Layer], list[Tensor]]:
        """The layers, and all their parameters, which match the input and have the shapes of the module."""
        layers: list[Layer] = []
        parameters: list[Tensor] = []
        first = like = None
        for suffix, inputs in self._layers():
            layer = Layer(self._weights(suffix), self._modules_of(suffix), suffix)
            # One that was replaced, by assignment or by torch.func.functional_call, may have any shape.
            shapes = self._shapes(inputs)
            for name, tensor in layer.weights.named(suffix):
                check_floating(name, tensor)
                if first is None or like is None:
                    check_matches("input", data, name, tensor)
                    first, like = name, tensor
                check_matches(name, tensor, first, like)
                shape = shapes[name.partition(f"_{suffix}")[0]]
                check_shape(name, tensor, shape, "(rows, columns)" if len(shape) > 1 else "(N,)")
                parameters.append(tensor)
            layers.append(layer)
        for layer in layers:
            self._norm.check(layer, data)
        return layers, parameters


def _called_without_input(name: str, hook: Any, site: nn.Module) -> None:
    """Call a forward pre-hook of a site, which has no input.

    Raises
    ------
    TypeError
        The hook takes something out of the input.
    """
    try:
        hook(site, ())
    except (IndexError, ValueError) as error:
        raise TypeError(
            f"{name} must have forward pre-hooks that need no input, since it is never called: the layer computes "
            f"the norm. {getattr(hook, '__name__', type(hook).__name__)} raised {type(error).__name__}: {error}"
        ) from error
