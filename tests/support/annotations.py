"""The annotations of the oracle and the library, shapes included, executed while tests run.

`install` puts jaxtyping's import hook in front of their modules. Every function that these define then compares what it
took and returned with its annotations: types by beartype, shapes by jaxtyping, where a letter such as T stands for one
number in all arguments and results of a call. `execute_fields` does the same for the tensors of a named tuple.

It happens in a run of pytest with `ATN_ANNOTATIONS=1`. `tests/verification/test_annotations.py` starts one over
`EXECUTED`, files that go through every norm, cell and refusal. The other tests run the functions as they are: the
comparison makes the oracle 3 times as slow, and torch.compile cannot trace it.

The comparison follows the call. A call that does not fit its annotations is an error where the function returned all
the same: the annotation is false, or a check is missing. Where the function itself refused the call, that is what the
tests of wrong calls want to see.
"""

import re
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from numbers import Integral, Real
from pathlib import Path
from types import FunctionType
from typing import Any, Self

import torch
from beartype import BeartypeConf, FrozenDict, beartype
from jaxtyping import TypeCheckError, install_import_hook, jaxtyped

ROOT = Path(__file__).parents[2]
FOLDERS = (ROOT / "reference" / "atn_reference", ROOT / "torch_impl" / "atn")
EXECUTED = (
    "tests/library/refusals",
    "tests/library/backends/test_against_oracle.py",
    "tests/library/cells/test_cells_against_oracle.py",
    "tests/library/lstm/test_stream.py",
    "tests/library/norm/test_norm_module.py",
)
"""Tests that are run with the annotations, in a minute of one core."""

PACKAGES = tuple(folder.name for folder in FOLDERS)

KERNEL = "@triton.jit"
"""Stands in front of a kernel."""

NUMBERS = BeartypeConf(hint_overrides=FrozenDict({int: int | Integral, float: float | Real}))
"""NumPy's integers serve as int, and every real number as float."""

PRODUCT = re.compile(r"\d\*[A-Z]")
"""An axis whose length is a product, as in " 4*H"."""


def modules() -> list[str]:
    """Names of all modules of both packages but those of Triton's kernels, which Triton compiles from their source."""
    found = [(folder, path) for folder in FOLDERS for path in sorted(folder.rglob("*.py"))]
    return [
        ".".join((folder.name, *path.relative_to(folder).with_suffix("").parts))
        for folder, path in found
        if path.name != "__init__.py" and KERNEL not in path.read_text("utf-8")
    ]


def install(*names: str) -> AbstractContextManager[None]:
    """Execute the annotations of all functions of these modules, which must not have been imported yet.

    As a context manager it ends with the context, for the modules that are imported later.
    """
    hook: AbstractContextManager[None] = install_import_hook(names, f"{__name__}.{after_the_call.__name__}")
    return hook


def execute_fields(*packages: str) -> None:
    """Hold every new named tuple with shapes to the annotations of its fields, in the modules that are imported."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in packages:
            for kind in list(vars(module).values()):
                if isinstance(kind, type) and kind.__module__ == name:
                    _execute_fields(kind)


def assert_in_force() -> None:
    """Check that calls which Python and torch go through with fail by the annotations of both packages."""
    from atn import window  # noqa: PLC0415 - imported through the hook, after this module
    from atn_reference.norms import window as of_oracle  # noqa: PLC0415 - the same

    a: Any = torch.zeros(3, 2)
    half: Any = 2.5
    against: dict[str, Callable[[], object]] = {
        "a dtype": lambda: window.centered(a, a.long()),
        "a type": lambda: window.reciprocal_deviation(a, a),
        "a field": lambda: window.StepStatistics(a, a.t()),
        "the oracle": lambda: of_oracle.window_slice(half, 3),
    }
    for what, call in against.items():
        try:
            call()
        except TypeCheckError:
            continue
        raise RuntimeError(f"the annotations are not executed: a call against {what} passed")


def after_the_call(function: FunctionType) -> Callable[..., Any]:
    """The type checker for jaxtyping, which calls it with two functions in the place of the checked one.

    One takes the arguments, before the call. The other, after it, takes the result too, as its keyword ``ret0``.
    """
    if not any(re.fullmatch(r"ret\d+", name) for name in function.__code__.co_varnames):
        return function
    # Which class `Self` stands for is not said by a method alone; mypy holds these results to it.
    hints = {name: Any if hint is Self else hint for name, hint in function.__annotations__.items()}
    products = [name for name, hint in hints.items() if PRODUCT.search(str(hint))]
    if not products:
        return _checked(function, hints)
    # A product such as 4*H is looked at last, when some other axis has said what H is.
    letters = _checked(function, hints | dict.fromkeys(products, Any))
    everything = _checked(function, hints)

    def both(*args: Any, **kwargs: Any) -> Any:
        letters(*args, **kwargs)
        return everything(*args, **kwargs)

    return both


def _checked(function: FunctionType, hints: dict[str, Any]) -> Callable[..., Any]:
    """A copy of the function, with these annotations executed."""
    copy = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__)
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__module__, copy.__qualname__ = function.__module__, function.__qualname__
    copy.__annotations__ = hints
    return beartype(conf=NUMBERS)(copy)


def _execute_fields(kind: Any) -> None:
    shapes = any("jaxtyping" in str(hint) for hint in vars(kind).get("__annotations__", {}).values())
    if shapes and hasattr(kind, "_fields") and not hasattr(kind.__new__, "__wrapped__"):
        new = kind.__new__
        new.__annotations__ = {**kind.__annotations__, "return": Any}
        kind.__new__ = staticmethod(jaxtyped(new, typechecker=after_the_call))
