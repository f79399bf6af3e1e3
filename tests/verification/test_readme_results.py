"""The results in README.md are those of the records, and its counts of claims those of the registry."""

import functools
import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from experiments.catalog.sensitivity import SEEDS
from experiments.report.results import Results, load_results
from experiments.report.selection import decides
from experiments.report.sensitivity.effects import is_true
from experiments.report.sensitivity.grid_results import CellResult, GridResult, grid_results
from experiments.report.sensitivity.sentences import CellSentence, is_lower
from experiments.report.sensitivity.verdicts import verdict
from experiments.tasks import char_ptb, wikitext2
from experiments.training.records.summary import mean
from experiments.training.settings import MODELS
from proofs.claims import VERDICTS, load_papers

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"


@functools.cache
def results() -> Results:
    return load_results(ROOT / "experiments" / "runs")


TASK_OF = {"characters of PTB": "char-ptb", "words of WikiText-2": "wikitext2"}
"""Tasks that the table calls by another name."""

UNITS: dict[str | None, Callable[[float], float]] = {
    None: float,
    "bits": char_ptb.bits_per_character,
    "perplexity": wikitext2.perplexity,
}
"""From a loss in nats to the unit of a row, by its name in the table."""


class ResultRow(NamedTuple):
    """A row of the table of results that has losses."""

    task: str
    T: int | None
    preset: str
    printed: tuple[str, ...]
    """Our mean for each model as printed."""
    seeds: int
    unit: str | None
    """One of `UNITS`."""


def result_rows(text: str) -> list[ResultRow]:
    found = []
    for line in text.splitlines():
        if place := re.match(r"\| ([\w -]+), (?:T = (\d+), )?(paper|released|budget)(?:, (bits|perplexity))? \|", line):
            name, T, preset, unit = place.groups()
            _, _, ours, _, seeds = line.strip("| ").split(" | ")
            printed = tuple(number.split()[0] for number in ours.split(" / "))
            found.append(ResultRow(TASK_OF.get(name, name), int(T) if T else None, preset, printed, int(seeds), unit))
    return found


def test_our_results_are_those_of_the_records() -> None:
    finished = [each for each in results().finished if decides(each.record)]
    shown = result_rows(README.read_text("utf-8"))
    assert len(shown) == 10
    for row in shown:
        wanted = (row.task, row.preset, row.T)
        by_model: dict[str, dict[int, float]] = {model: {} for model in MODELS}
        for each in finished:
            place = each.record.task, each.record.preset, each.record.settings.get("T")
            is_shown = each.record.settings.get("replace") is not False  # the denoise task of the table
            if place == wanted and is_shown and each.record.model in by_model:
                by_model[each.record.model][each.seed] = UNITS[row.unit](each.minimum.validation)
        common = set.intersection(*(set(of_seed) for of_seed in by_model.values()))
        assert len(common) == row.seeds, wanted
        for model, number in zip(MODELS, row.printed, strict=True):
            digits = len(number.partition(".")[2])
            assert f"{mean([by_model[model][seed] for seed in common]):.{digits}f}" == number, (*wanted, model)


ATN_LOWER, LN_LOWER = BOTH = is_lower("atn", "ln"), is_lower("ln", "atn")

DENOISE_PAPER = {"bias_placement": "inside", "lr": 0.01, "clip": None}
"""The paper's settings in the grids of denoise."""


@functools.cache
def grids() -> Mapping[str, GridResult]:
    return {result.grid.name: result for result in grid_results(results())}


def cell(grid: str, **settings: Any) -> CellResult:
    """The one cell of a grid with these settings."""
    (found,) = [one for one in grids()[grid].cells if settings.items() <= one.cell.items()]
    return found


def at_every_seed(grid: str, sentence: CellSentence, **settings: Any) -> bool:
    """Whether a sentence is true at every seed in the one cell with these settings."""
    return is_true(cell(grid, **settings), sentence, grids()[grid].grid.seeds)


def relative_difference(one: CellResult) -> float:
    """Mean loss of ATN over that of LN, less 1."""
    atn, ln = (mean(list(one.losses[model].values())) for model in ("atn", "ln"))
    return atn / ln - 1


def last_losses(task: str, preset: str, T: int, model: str) -> dict[int, float]:
    """Mean training loss of the last 5 % of the steps, by seed, of the runs of a preset."""
    wanted = (task, preset, T, model)
    return {
        each.seed: each.summary.last_twentieth
        for each in results().finished
        if decides(each.record)
        and (each.record.task, each.record.preset, each.record.settings.get("T"), each.record.model) == wanted
    }


def test_copying_is_as_the_sentence_on_it_says() -> None:
    assert verdict(grids()["copying-placement"], ATN_LOWER).startswith("robust")
    cells = (cell("copying-placement", bias_placement=each) for each in ("outside", "inside"))
    by_placement = [relative_difference(one) for one in cells]
    assert [f"{share:.0%}" for share in by_placement] == ["-12%", "-25%"]
    paper = cell("copying-paper")
    assert f"{relative_difference(paper):.1%}" == "-1.4%"
    assert paper.compared("atn", "ln").lower == 3
    by_seed = [ATN_LOWER.holds(paper, seed) for seed in grids()["copying-paper"].grid.seeds]
    assert sorted(by_seed) == [False, True, True]  # by more than 1 %
    long = {model: last_losses("copying", "paper", 200, model) for model in ("atn", "ln")}
    assert all(long["atn"][seed] < 0.99 * long["ln"][seed] for seed in SEEDS)
    assert f"{mean(list(long['atn'].values())) / mean(list(long['ln'].values())) - 1:.0%}" == "-3%"
    assert not any(at_every_seed("copying-long", sentence) for sentence in BOTH)


def test_denoise_is_as_the_sentence_on_it_says() -> None:
    assert at_every_seed("denoise-settings", LN_LOWER, **DENOISE_PAPER)
    assert at_every_seed("denoise-long", LN_LOWER, T=100, **DENOISE_PAPER)
    for other in ({"clip": 1.0}, {"bias_placement": "outside"}, {"clip": 1.0, "bias_placement": "outside"}):
        assert not any(at_every_seed("denoise-settings", each, **{**DENOISE_PAPER, **other}) for each in BOTH), other
    assert not any(at_every_seed("denoise-distinct", each) for each in BOTH)
    both = {"T": 100, "clip": 1.0, "bias_placement": "outside"}
    assert not any(at_every_seed("denoise-long", each, **both) for each in BOTH)
    assert all(at_every_seed("denoise-long", is_lower(each, "lstm"), T=100, **DENOISE_PAPER) for each in ("ln", "atn"))
    with_clipping, as_the_paper = cell("denoise-long", **both), cell("denoise-long", T=100, **DENOISE_PAPER)
    means = [mean(list(with_clipping.losses[model].values())) for model in MODELS]
    means.append(mean(list(as_the_paper.losses["lstm"].values())))
    assert [f"{loss:.3f}" for loss in means] == ["0.044", "0.036", "0.033", "0.159"]
    at_200 = {**both, "T": 200}
    assert at_every_seed("denoise-long", ATN_LOWER, **at_200)
    means_at_200 = [mean(list(cell("denoise-long", **at_200).losses[model].values())) for model in ("atn", "ln")]
    assert [f"{loss:.4f}" for loss in means_at_200] == ["0.0157", "0.0172"]
    text = " ".join(README.read_text("utf-8").split())
    assert "Clipping brings the LSTM near (from .159 to .044 at T = 100)" in text
    assert "the seeds decide at T = 100 (LN .036, ATN .033)" in text
    assert "T = 200 ATN ends below LN at every seed, .0157 against .0172" in text


def test_pixel_mnist_is_as_the_sentence_on_it_says() -> None:
    undoes = {"bias_placement": "inside", "chrono_at": "bias"}
    for one in grids()["pixel-inside"].cells:
        for model in ("ln", "atn"):
            accuracies = one.shown["accuracy"][model].values()
            assert len(accuracies) == 3
            bounds = (0.0, 0.15) if undoes == one.cell else (0.5, 1.0)
            assert all(bounds[0] < accuracy < bounds[1] for accuracy in accuracies), (one.cell, model)

    for one in grids()["pixel-start"].cells:
        bounds = (0.5, 1.0) if one.cell["chrono"] else (0.0, 0.15)
        found = [one.shown["accuracy"][model][seed] for model in ("ln", "atn") for seed in SEEDS]
        assert all(bounds[0] < accuracy < bounds[1] for accuracy in found), one.cell
    assert at_every_seed("pixel-start", ATN_LOWER, chrono=True)
    after_one_epoch = cell("pixel-norm", bias_placement="outside", eps=1.0)
    assert {ATN_LOWER.holds(after_one_epoch, seed) for seed in SEEDS} == {True, False}


def test_the_lstm_is_the_most_accurate_on_pixel_mnist() -> None:
    accuracies = cell("pixel-norm", bias_placement="outside", eps=1.0).shown["accuracy"]
    found = [f"{mean(list(accuracies[model].values())):.0%}" for model in MODELS]
    assert found == ["82%", "71%", "67%"]
    assert "(82 %, LN 71 %, ATN 67 %)" in " ".join(README.read_text("utf-8").split())
    for one in grids()["pixel-norm"].cells:
        accuracies = one.shown["accuracy"]
        for seed in grids()["pixel-norm"].grid.seeds:
            assert all(accuracies["lstm"][seed] > accuracies[model][seed] for model in ("ln", "atn")), (one.cell, seed)


def test_elsewhere_the_seeds_decide() -> None:
    assert not any(at_every_seed("adding-placement", sentence, bias_placement="inside") for sentence in BOTH)
    assert not any(at_every_seed("adding-long", sentence) for sentence in BOTH)
    assert not any(at_every_seed("denoise-long", sentence, T=200, **DENOISE_PAPER) for sentence in BOTH)
    assert at_every_seed("adding-placement", ATN_LOWER, bias_placement="outside")
    adding = cell("adding-placement", bias_placement="outside").losses
    assert [f"{mean(list(adding[model].values())):.5f}" for model in ("atn", "ln")] == ["0.00043", "0.00071"]
    assert "at every seed, .00043 against .00071" in " ".join(README.read_text("utf-8").split())


def test_claims_are_counted_as_in_the_registry() -> None:
    text = " ".join(README.read_text("utf-8").split())
    pattern = (
        r"Of the paper's (\d+) claims (\d+) hold, (\d+) hold under an assumption that it leaves out, "
        r"(\d+) is a misprint, (\d+) are refuted, and (\d+) are measured"
    )
    (counts,) = re.findall(pattern, text)
    claims = load_papers()[0].claims.values()
    of_verdict = Counter(claim.verdict for claim in claims)
    assert tuple(map(int, counts)) == (len(claims), *(of_verdict[kind] for kind in VERDICTS))
