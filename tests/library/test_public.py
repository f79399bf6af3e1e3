"""The public surface of the library, and what importing it brings along."""

import inspect
import subprocess
import sys

import atn
import atn.functional

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


def test_everything_public_is_documented() -> None:
    for name in atn.__all__:
        assert inspect.getdoc(getattr(atn, name)), name


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
