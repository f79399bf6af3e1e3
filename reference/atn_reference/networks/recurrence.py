"""What the recurrent networks share: how they are described, their sites, and the checks of their arguments.

A network is described by a ``Layout``: the classes of its parameters, state and memory, and the shape of each of their
arrays in the letters of ``validation``. A site named "hh" has a field "hh" in the memory and in the statistics of the
population, its gain and shift in ``parameters.norm_hh`` and its bias, if it has one, in ``parameters.bias_hh``.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from atn_reference.arrays import Array
from atn_reference.networks.site import PopulationSite, Site, SiteForward
from atn_reference.norms.ada_norm import checked_ada_norm
from atn_reference.norms.population_norm import PopulationStatistics
from atn_reference.norms.settings import (
    BIAS_PLACEMENTS,
    STATISTICS,
    AdaNorm,
    Affine,
    BiasPlacement,
    WindowNorm,
)
from atn_reference.norms.window import BASES
from atn_reference.validation import (
    check_absent,
    check_arrays,
    check_choice,
    check_choices,
    check_eps,
    check_instance,
    check_integer,
    check_like,
    check_memory_rows,
    check_recorded,
    check_window_length,
)

Memory = TypeVar("Memory")


class Layout(NamedTuple):
    """The arrays of a network by name, with their shapes in letters.

    Attributes
    ----------
    parameters, state, memory, population : the network's classes
    arrays : weights and biases, fields of the parameters
    sites : features of each site
    carried : arrays of the state
    """

    parameters: type
    state: type
    memory: type
    population: type
    arrays: Mapping[str, str]
    sites: Mapping[str, str]
    carried: Mapping[str, str]


def check_forward(x: Array, parameters: Any, norm: Any, bias_placement: str, state: Any, layout: Layout) -> None:
    """Check the arguments of a forward pass against the layout; raises TypeError or ValueError."""
    check_instance("parameters", parameters, layout.parameters)
    check_instance("norm", norm, WindowNorm, AdaNorm, layout.population, type(None))
    check_choice("bias_placement", bias_placement, BIAS_PLACEMENTS)
    check_instance("state", state, layout.state, type(None))
    memory = None if state is None else state.memory
    check_instance("state.memory", memory, layout.memory, type(None))
    check_integer("state.step", 0 if state is None else state.step, 0)
    arrays: list[tuple[str, object, str]] = [("x", x, "T B I")]
    arrays += [(f"parameters.{name}", getattr(parameters, name), shape) for name, shape in layout.arrays.items()]
    for name, features in layout.sites.items():
        arrays += _affine_arrays(f"parameters.norm_{name}", getattr(parameters, f"norm_{name}"), features)
    if state is not None:
        arrays += [(f"state.{name}", getattr(state, name), shape) for name, shape in layout.carried.items()]
    if memory is not None:
        arrays += [(f"state.memory.{name}", getattr(memory, name), f"M B {n}") for name, n in layout.sites.items()]
    if isinstance(norm, layout.population):
        for name, features in layout.sites.items():
            arrays += _population_arrays(f"norm.{name}", getattr(norm, name), features)
    check_arrays(*arrays)
    _check_combination(parameters, norm, memory, layout)


def network_sites(parameters: Any, norm: Any, bias_placement: BiasPlacement, layout: Layout) -> list[Site]:
    """Sites of a network in the order of its layout, with the numbers of the norm as Python numbers."""
    return [
        Site(
            site_norm,
            getattr(parameters, f"norm_{name}"),
            getattr(parameters, f"bias_{name}", None),
            bias_placement,
        )
        for name, site_norm in zip(layout.sites, _site_norms(norm, layout), strict=True)
    ]


def start_sites(sites: list[Site], state: Any) -> list[SiteForward]:
    """Sites at the start of a chunk, each with its memory."""
    memories = [None] * len(sites) if state.memory is None else state.memory
    return [SiteForward(site, memory, state.step) for site, memory in zip(sites, memories, strict=True)]


def joined_memory(kind: Callable[..., Memory], parts: Iterable[Array | None]) -> Memory | None:
    """Memory of a network from that of its sites; None where they have none."""
    rows = [part for part in parts if part is not None]
    return kind(*rows) if rows else None


def check_upstream(
    outputs: Mapping[str, tuple[Array | None, Array]], dmemory_n: Any, memory: Any, layout: Layout
) -> None:
    """Check upstream gradients against their outputs: (gradient or None, output) by name, and those of the memory."""
    for name, (gradient, output) in outputs.items():
        if gradient is not None:
            check_like(name, gradient, output)
    check_instance("dmemory_n", dmemory_n, layout.memory, type(None))
    if memory is None:
        check_absent("dmemory_n", dmemory_n, "the forward pass handed on no memory")
    elif dmemory_n is not None:
        for name in layout.sites:
            check_like(f"dmemory_n.{name}", getattr(dmemory_n, name), getattr(memory, name))


def _site_norms(norm: Any, layout: Layout) -> list[WindowNorm | AdaNorm | PopulationSite | None]:
    if norm is None:
        return [None] * len(layout.sites)
    if isinstance(norm, AdaNorm):
        return [checked_ada_norm(norm, "norm.")] * len(layout.sites)
    if isinstance(norm, WindowNorm):
        check_choice("norm.base", norm.base, BASES)
        check_choices("norm.detach", norm.detach, STATISTICS)
        return [norm._replace(k=check_window_length(norm.k), eps=check_eps(norm.eps))] * len(layout.sites)
    return [PopulationSite(getattr(norm, name), check_eps(norm.eps)) for name in layout.sites]


def _affine_arrays(name: str, affine: Affine | None, letters: str) -> list[tuple[str, object, str]]:
    check_instance(name, affine, Affine, type(None))
    return [] if affine is None else [(f"{name}.gamma", affine.gamma, letters), (f"{name}.beta", affine.beta, letters)]


def _population_arrays(name: str, population: PopulationStatistics, letters: str) -> list[tuple[str, object, str]]:
    check_instance(name, population, PopulationStatistics)
    check_recorded(name, population.var, population.updates)
    return [(f"{name}.mean", population.mean, f"S {letters}"), (f"{name}.var", population.var, f"S {letters}")]


def _check_combination(parameters: Any, norm: Any, memory: Any, layout: Layout) -> None:
    if isinstance(norm, WindowNorm):
        rows = None if memory is None else getattr(memory, next(iter(layout.sites)))
        check_memory_rows("state.memory", rows, check_window_length(norm.k))
        return
    check_absent("state.memory", memory, "only a WindowNorm reads a window")
    if isinstance(norm, layout.population):
        return
    reason = "a gain and shift belong to a norm, and norm is None"
    if isinstance(norm, AdaNorm):
        reason = "AdaNorm has a factor of its own in place of gain and shift"
    for name in layout.sites:
        check_absent(f"parameters.norm_{name}", getattr(parameters, f"norm_{name}"), reason)
