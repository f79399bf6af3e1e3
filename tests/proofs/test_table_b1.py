"""Table B.1: each of the 40 cells by identity or by counterexample, and the table itself as printed."""

import pytest
import sympy as sp

from proofs.atn.normalizers import NORMALIZERS
from proofs.atn.table_b1 import (
    CELLS,
    ROWS,
    VARIABLES,
    Cell,
    counterexample,
    entries_of,
    identities,
    problem_of,
    prove,
)
from proofs.claims import load_claims
from proofs.evidence import open_ends

BY_CELL = [pytest.param(cell, id=f"{cell.row.name}-{cell.norm}", marks=pytest.mark.claim(cell.claim)) for cell in CELLS]


@pytest.mark.parametrize("cell", BY_CELL)
def test_cell(cell: Cell) -> None:
    assert open_ends(prove(cell)) == []


def test_forty_cells() -> None:
    assert len(ROWS) == 8
    assert len(NORMALIZERS) == 5
    assert len({cell.claim for cell in CELLS}) == 40


def test_one_cell_of_the_paper_is_wrong_in_one_of_two_readings() -> None:
    assert [cell.claim for cell in CELLS if cell.paper != cell.truth] == ["b1-single-time-whole-batch-bn"]


def test_registry_has_the_verdict_of_each_cell() -> None:
    claims = load_claims()
    refuted = {cell.claim for cell in CELLS if claims[cell.claim].verdict == "refuted"}
    assert refuted == {cell.claim for cell in CELLS if cell.paper != cell.truth}


@pytest.mark.claim("b1-single-time-one-case-bn", "b1-single-time-whole-batch-bn", "s1-step-scale-invariance")
def test_two_readings_of_the_last_row_differ_for_batch_norm_alone() -> None:
    """Erratum 5: one case at one step turns an output of BN from -1 to 1; the whole batch at a step changes none."""
    truth = {(cell.row.name, cell.norm): cell.truth for cell in CELLS}
    differing = [
        norm for norm in NORMALIZERS if truth["single-time-one-case", norm] != truth["single-time-whole-batch", norm]
    ]
    assert differing == ["bn"]
    one_case, whole_batch = (
        next(cell for cell in CELLS if cell.claim == f"b1-single-time-{reading}-bn")
        for reading in ("one-case", "whole-batch")
    )
    difference = counterexample(one_case)
    assert (difference.first, difference.second) == (-1, 1)
    assert open_ends(identities(whole_batch)) == []


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell.truth], ids=lambda cell: cell.claim[3:])
def test_yes_has_no_counterexample(cell: Cell) -> None:
    with pytest.raises(ValueError, match="no example"):
        counterexample(cell)


@pytest.mark.parametrize("cell", [cell for cell in CELLS if not cell.truth], ids=lambda cell: cell.claim[3:])
def test_no_leaves_a_residual(cell: Cell) -> None:
    """Negative control: the identities of a "yes" cell do not stand in a "no" cell."""
    assert open_ends(identities(cell)) != []


def test_transforms_touch_what_they_name() -> None:
    """How many of the 4 weights and 12 inputs each row changes."""
    changed = {}
    for row in ROWS:
        before = problem_of([sp.Integer(1)] * len(VARIABLES))
        after = row.transform(before, sp.Integer(3), (sp.Integer(1), sp.Integer(2)))
        pairs = list(zip(entries_of(before), entries_of(after), strict=True))
        changed[row.name] = (sum(a != b for a, b in pairs[:4]), sum(a != b for a, b in pairs[4:]))
    assert changed == {
        "weight-matrix-rescaling": (4, 0),
        "weight-matrix-recentering": (4, 0),
        "weight-vector-rescaling": (2, 0),
        "dataset-rescaling": (0, 12),
        "dataset-recentering": (0, 12),
        "single-case-rescaling": (0, 6),
        "single-time-one-case": (0, 2),
        "single-time-whole-batch": (0, 4),
    }
