"""The public surface of the library, and what importing it brings along."""

import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import atn
import atn.functional
import atn.lyapunov

SIGNATURES = {
    "AssortedTimeNorm": [
        "num_features", "k", "base", "eps", "affine", "max_steps", "momentum", "backend", "device", "dtype",
    ],
    "ATNLSTM": [
        "input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional",
        "k", "norm", "eps", "affine", "bias_placement", "init", "forget_bias",
        "backend", "device", "dtype", "proj_size", "options",
    ],
    "ATNRNN": [
        "input_size", "hidden_size", "num_layers", "nonlinearity", "bias", "batch_first", "dropout", "bidirectional",
        "k", "norm", "eps", "affine", "bias_placement", "init", "backend", "device", "dtype", "options",
    ],
    "ATNGRU": [
        "input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional",
        "k", "norm", "eps", "affine", "bias_placement", "init", "backend", "device", "dtype", "options",
    ],
    "NormalizedLinear": [
        "in_features", "out_features", "bias", "k", "eps", "affine", "bias_placement", "backend", "device", "dtype",
    ],
    "PerStepReadout": ["steps", "hidden_size", "classes", "bias", "batch_first", "device", "dtype"],
}  # fmt: skip


def test_all_is_what_is_public() -> None:
    modules = {name for name in sys.modules if name.startswith("atn.")}
    public = {
        name
        for name in vars(atn)
        if not name.startswith("_") and (f"atn.{name}" not in modules or name == "functional")
    }
    assert sorted(public) == sorted(atn.__all__)
    assert atn.functional.__all__ == ["assorted_time_norm"]


def test_signatures_are_those_of_the_contract() -> None:
    for name, parameters in SIGNATURES.items():
        assert list(inspect.signature(getattr(atn, name)).parameters) == parameters
    signature = inspect.signature(atn.functional.assorted_time_norm)
    assert list(signature.parameters) == ["a", "k", "weight", "bias", "eps", "base", "backend"]


def calls(name: str, public: Any) -> dict[str, Callable[..., Any]]:
    """What a user calls of a public name: the function itself, or a class and its methods that are defined here."""
    if not inspect.isclass(public):
        return {name: public}
    own = {
        f"{name}.{method}": function
        for method, function in inspect.getmembers(public, inspect.isfunction)
        if not method.startswith("_") and function.__module__.startswith("atn.")
    }
    return {name: public, **own}


def untold(function: Callable[..., Any]) -> list[str]:
    """Parameters that the docstring neither lists on a line of their own nor names between backticks."""
    text = inspect.getdoc(function) or ""
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = [
        each.name
        for each in inspect.signature(function).parameters.values()
        if each.kind not in kinds and each.name != "self"
    ]
    listed = {name for line in re.findall(r"^ *(\w+(?:, \w+)*)$", text, re.MULTILINE) for name in line.split(", ")}
    return [name for name in parameters if name not in listed and f"`{name}`" not in text]


def test_everything_public_is_documented_parameter_by_parameter() -> None:
    public = {name: getattr(atn, name) for name in atn.__all__ if not inspect.ismodule(getattr(atn, name))}
    public |= {name: getattr(atn.functional, name) for name in atn.functional.__all__}
    public |= {name: getattr(atn.lyapunov, name) for name in atn.lyapunov.__all__}
    every = {name: call for owner, each in public.items() for name, call in calls(owner, each).items()}
    assert len(every) > 40
    assert [name for name, call in every.items() if not inspect.getdoc(call)] == []
    assert {name: missing for name, call in every.items() if (missing := untold(call))} == {}


def test_a_parameter_without_a_word_is_found() -> None:
    def function(told: int, listed: int, forgotten: int) -> None:
        """Of `told`.

        Parameters
        ----------
        listed
            A number, forgotten.
        """

    assert untold(function) == ["forgotten"]


def test_importing_brings_nothing_but_torch_numpy_and_jaxtyping() -> None:
    program = (
        "import sys, torch, numpy, jaxtyping\n"
        "before = {name.partition('.')[0] for name in sys.modules}\n"
        "import atn\n"
        "after = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(after - before - sys.stdlib_module_names))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603 - our own program
    assert done.stdout.strip() == "['atn']"
