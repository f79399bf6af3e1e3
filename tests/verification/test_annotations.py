"""The annotations of the oracle and the library are executed while the tests run, and a false one fails them."""

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from jaxtyping import TypeCheckError

from tests.support import annotations

ROOT = Path(__file__).parents[2]
PLANTED = "planted_annotations"
SOURCE = """
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor


class Moments(NamedTuple):
    mean: Float[Tensor, "T B"]
    var: Float[Tensor, "T B"]


def transposed(a: Float[Tensor, "T B"]) -> Float[Tensor, "T B"]:
    return a.t()


def hidden_size(gates: Float[Tensor, "B 4*H"], h: Float[Tensor, "B H"]) -> int:
    return gates.shape[1] // 4


def window_length(k: int) -> int:
    if k is None:
        raise ValueError("k must be an integer")
    return 1
"""
A = torch.zeros(3, 2)


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module above, imported as the packages are."""
    (tmp_path / f"{PLANTED}.py").write_text(SOURCE, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with annotations.install(PLANTED):
        module = importlib.import_module(PLANTED)
    annotations.execute_fields(PLANTED)
    yield module
    del sys.modules[PLANTED]


def test_a_false_annotation_is_found(planted: Any) -> None:
    assert planted.transposed(torch.zeros(3, 3)).shape == (3, 3)
    with pytest.raises(TypeCheckError, match=r"the return value of planted_annotations\.transposed"):
        planted.transposed(A)


def test_a_product_of_letters_is_computed(planted: Any) -> None:
    assert planted.hidden_size(torch.zeros(3, 8), A) == 2
    with pytest.raises(TypeCheckError, match=r"planted_annotations\.hidden_size"):
        planted.hidden_size(torch.zeros(3, 9), A)


def test_fields_of_a_named_tuple_share_their_letters(planted: Any) -> None:
    assert planted.Moments(A, A).var is A
    with pytest.raises(TypeCheckError, match="var"):
        planted.Moments(A, A.t())


def test_a_function_that_refuses_a_call_is_heard(planted: Any) -> None:
    with pytest.raises(ValueError, match=r"^k must be an integer$"):
        planted.window_length(None)
    with pytest.raises(TypeCheckError, match=r"planted_annotations\.window_length"):
        planted.window_length(1.5)


def test_the_annotations_of_both_packages_hold() -> None:
    """Run the tests of `EXECUTED` with the annotations, in a process that imports both packages through the hook."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        "not triton",
        *annotations.EXECUTED,
    ]
    environment = {**os.environ, "ATN_ANNOTATIONS": "1", "ATN_PROFILE": "few"}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - our own tests
    assert ended.returncode == 0, ended.stdout[-20_000:]
