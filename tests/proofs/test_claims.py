"""The registry of claims, the table of proofs, and `python -m proofs`."""

import re
from collections import Counter
from pathlib import Path

import pytest
import sympy as sp

from proofs import __main__ as command
from proofs import claims as registry
from proofs.atn.table_b1 import CELLS
from proofs.claims import PAPERS, VERDICTS, load_claims, load_papers
from proofs.evidence import Identity
from proofs.index import PROOFS, Proof

ERRATA = Path(registry.__file__).with_name("ERRATA.md")
ERRATA_OF_ALL = sorted(ERRATA.parent.glob("ERRATA*.md"))

EQUATIONS = {f"eq-{number}" for number in range(1, 17)}
GROUPS = {"prop-1", "eq-a1-a3", "eq-a4-a7", "eq-a8-a10", "eq-a11-a12", "eq-a13", "figure-1"}
MEASURED = {f"table-{number}" for number in range(1, 6)} | {f"figure-{number}" for number in range(2, 8)}

HEAD = """
title = "A paper"
source = "somewhere"
order = 1
"""

COMPLETE = """
[[claim]]
id = "{id}"
where = "here"
statement = "something"
verdict = "{verdict}"
assumptions = "{assumptions}"
generality = "all"
reason = "because"
{more}
"""


def entry(id: str = "one", verdict: str = "holds", assumptions: str = "", more: str = "") -> str:  # noqa: A002 - its name in the file
    return COMPLETE.format(id=id, verdict=verdict, assumptions=assumptions, more=more)


class TestRegistry:
    """The papers and how they are read."""

    def test_ids_are_unique_in_all_files(self) -> None:
        text = "\n".join(path.read_text(encoding="utf-8") for path in PAPERS.glob("*.toml"))
        ids = re.findall(r'^id = "(.*)"$', text, flags=re.MULTILINE)
        assert [id for id, count in Counter(ids).items() if count > 1] == []  # noqa: A001 - its name in the file
        assert set(ids) == load_claims().keys()

    def test_equations_table_and_figures_are_there(self) -> None:
        assert load_claims().keys() >= EQUATIONS | GROUPS | MEASURED | {cell.claim for cell in CELLS}

    def test_exactly_the_experiments_are_measured(self) -> None:
        measured = {claim.id for claim in load_claims().values() if claim.verdict == "measured"}
        of_norm_prop = {"np-similar-or-better", "np-char-ptb-order", "np-variance-at-start"}
        others = {"cn-with", "cn-without", "cn-figure-2", "s1-gradients-controlled", "ly-readout"}
        others |= {"nv-accuracy", "nv-planted-contributions", "nv-planted-weights"}
        others |= {"hp-dropouts", "hp-dropouts-at-unequal-depth", "hp-clusters"}
        others |= {"mp-one-pass", "mp-accuracy", "mp-accuracy-stateful", "mp-keeper-helps", "mp-longer-windows"}
        others |= {"mp-speed", "mp-speed-stateful"}
        of_the_text = {"s1-faster-copying", "s1-faster-adding", "s1-faster-denoise"}
        of_the_text |= {"s4-copying-lstm", "s4-copying-steep", "s4-denoise-throughout"}
        assert measured == MEASURED | of_the_text | {"s5-large-k-gradients"} | of_norm_prop | others

    def test_every_verdict_is_in_use(self) -> None:
        assert {claim.verdict for claim in load_claims().values()} == set(VERDICTS)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (entry() + entry(), "'one': the id is used twice"),
            (entry(verdict="true"), "'one': verdict 'true' must be one of"),
            (entry(verdict="measured"), "'one': an experiment belongs to verdict 'measured'"),
            (entry(more='experiment = "copying"'), "'one': an experiment belongs to verdict 'measured'"),
            (entry(verdict="holds under"), "'one': verdict 'holds under' needs assumptions"),
            (entry(assumptions="eps = 0"), "'one': verdict 'holds' has assumptions"),
            (entry(more='proof = "mine"'), r"'one': missing fields \[\], unknown fields \['proof'\]"),
            (entry(more="experiment = 3"), "'one': every field must be a string"),
            ('[[claim]]\nid = "one"', "'one': missing fields .*'verdict'"),
            ("[[claim]]\n", "'number 1': missing fields"),
        ],
    )
    def test_wrong_entry(self, tmp_path: Path, text: str, message: str) -> None:
        (tmp_path / "paper.toml").write_text(HEAD + text, encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            load_claims(tmp_path)

    def test_right_entry(self, tmp_path: Path) -> None:
        text = HEAD + entry(verdict="measured", more='experiment = "copying"')
        (tmp_path / "paper.toml").write_text(text, encoding="utf-8")
        assert load_claims(tmp_path)["one"].experiment == "copying"

    def test_papers_come_in_their_own_order(self, tmp_path: Path) -> None:
        (tmp_path / "a.toml").write_text(HEAD.replace("order = 1", "order = 2") + entry("two"), encoding="utf-8")
        (tmp_path / "b.toml").write_text(HEAD + entry("one"), encoding="utf-8")
        assert list(load_claims(tmp_path)) == ["one", "two"]
        assert [list(paper.claims) for paper in load_papers(tmp_path)] == [["one"], ["two"]]

    @pytest.mark.parametrize(
        ("second", "message"),
        [
            (HEAD.replace("order = 1", "order = 2") + entry(), "'one': the id is used twice"),
            (HEAD + entry("two"), "b.toml: order 1 is used twice"),
            (entry("two"), "b.toml: title and source must be strings and order an integer"),
            (HEAD.replace("order = 1", 'order = "2"'), "b.toml: title and source must be strings"),
        ],
    )
    def test_two_papers_that_do_not_fit(self, tmp_path: Path, second: str, message: str) -> None:
        (tmp_path / "a.toml").write_text(HEAD + entry(), encoding="utf-8")
        (tmp_path / "b.toml").write_text(second, encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            load_papers(tmp_path)

    def test_no_paper(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="has no paper"):
            load_papers(tmp_path)


class TestTable:
    """Which proof settles what."""

    def test_proofs_name_claims_that_exist(self) -> None:
        claims = load_claims()
        assert {id for proof in PROOFS for id in proof.claims} <= claims.keys()  # noqa: A001 - its name in the file

    def test_what_is_left_to_property_tests(self) -> None:
        """Definitions of networks; everything else that is not measured has a proof."""
        proved = {id for proof in PROOFS for id in proof.claims}  # noqa: A001 - its name in the file
        unproved = {claim.id for claim in load_claims().values() if claim.verdict != "measured"} - proved
        definitions = {"eq-1", "eq-2", "eq-3", "eq-4", "s2-ln-needs-no-batch", "s4-copying-baseline"}
        definitions |= {"np-13", "np-14", "np-15", "ada-forward", "cn-definition"}
        assert unproved == definitions | {"ly-algorithm", "mp-whole", "mp-first-epoch", "mp-one-pass-exact"}

    def test_names_are_unique(self) -> None:
        assert len({proof.name for proof in PROOFS}) == len(PROOFS)


class TestErrata:
    """The errata keep up with the tests and the registry."""

    @pytest.mark.parametrize("errata", ERRATA_OF_ALL, ids=lambda path: path.stem)
    def test_names_tests_that_exist(self, errata: Path) -> None:
        """Each `tests/...::...` of the errata is a function or method of that file."""
        root = ERRATA.parent.parent
        nodes = re.findall(r"`(tests/\w+/\w+\.py)::([\w:]+)(?:\[[^`]*\])?`", errata.read_text(encoding="utf-8"))
        assert nodes
        for path, node in nodes:
            source = (root / path).read_text(encoding="utf-8")
            for name in node.split("::"):
                assert re.search(rf"\b(def|class) {name}\b", source), f"{path}::{node}"

    def test_settles_the_eight_leads(self) -> None:
        headings = re.findall(r"^## (\d+)\. ", ERRATA.read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert [int(number) for number in headings][:8] == list(range(1, 9))

    def test_names_what_does_not_hold_as_printed(self) -> None:
        wrong = {claim.id for claim in load_claims().values() if claim.verdict in {"refuted", "misprint"}}
        text = "".join(path.read_text(encoding="utf-8") for path in ERRATA_OF_ALL)
        assert [id for id in sorted(wrong) if f"`{id}`" not in text] == []  # noqa: A001 - its name in the file


class TestCommand:
    """`python -m proofs`."""

    def test_unknown_argument(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert command.main(["--fast"]) == 2
        assert capsys.readouterr().err.count("\n") == 1

    def test_all_established(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setattr(command, "PROOFS", PROOFS[:1])
        assert command.main([]) == 0
        output = capsys.readouterr().out
        assert all(f"{claim} (" in output for claim in load_claims())
        assert "left to experiment copying" in output

    def test_residual(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        wrong = Proof("wrong", ("eq-9",), lambda: (Identity("one", sp.S.One),))
        monkeypatch.setattr(command, "PROOFS", (wrong,))
        assert command.main([]) == 1
        assert "NOT ESTABLISHED" in capsys.readouterr().out

    def test_claim_that_is_not_there(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        stray = Proof("stray", ("eq-99",), lambda: (Identity("zero", sp.S.Zero),))
        monkeypatch.setattr(command, "PROOFS", (stray,))
        assert command.main([]) == 1
        assert "eq-99" in capsys.readouterr().err
