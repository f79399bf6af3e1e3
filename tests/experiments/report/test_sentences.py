"""Forms of sentences of the paper, held against runs that were made up."""

from collections.abc import Mapping

import pytest

from experiments.report.paper_numbers import Losses
from experiments.report.results import Result
from experiments.report.section import section
from experiments.report.statements import LAST_TWENTIETH, below, share_below
from experiments.report.studies import norm_prop
from experiments.report.studies.ablation import DETACHED
from experiments.report.studies.neuroview import NEUROVIEW
from experiments.report.studies.zero_share import counts
from experiments.tasks import char_ptb
from tests.support.experiment_runs import falls_to, gathered, make_run
from tests.support.made_up_runs import (
    adding_run,
    copying_run,
    copying_runs,
    language_run,
    level,
    one_example_run,
    outcomes,
    outcomes_in,
    readouts_run,
    statistics_run,
    variance_run,
    verdict_on,
)


def with_measured(run: Result, values: Mapping[str, float]) -> Result:
    """The run with its last validation alone, which measured these values too."""
    last = run.points[-1]
    return run._replace(points=[last._replace(measured={**last.measured, **values})])


def test_at_200_the_paper_has_lstm_and_ln_level() -> None:
    found = outcomes("copying", copying_runs(200))
    assert found["LSTM does not get below the baseline (0.09452)"] == ["confirmed"] * 3
    assert found["LN does not get below the baseline (0.09452)"] == ["confirmed"] * 3
    assert found["ATN gets below the baseline (0.09452)"] == ["confirmed"] * 3
    assert found["LN is no lower than LSTM"] == ["confirmed"] * 3


def test_losses_within_the_margin_are_level() -> None:
    runs = [copying_run("ln", 0.150), copying_run("atn", 0.149)]
    assert outcomes("copying", runs)["ATN is below LN"] == ["not confirmed"] * 3


def test_one_of_training_and_validation_is_not_enough() -> None:
    def worse(*_: object) -> dict[str, float]:
        return {"validation": 0.16}

    found = outcomes("copying", [copying_run("ln", 0.15), copying_run("atn", 0.12, measured=worse)])
    assert found["ATN is below LN"] == ["not confirmed"] * 3
    assert found["ATN gets below the baseline (0.1733)"] == ["confirmed"] * 3


def test_the_minimum_and_the_final_value_are_told_apart() -> None:
    spoiled = make_run("copying", "atn", lambda step: 0.12 if step == 2000 else 0.17, preset="released", measured=level)
    assert outcomes("copying", [copying_run("ln", 0.15), spoiled])["ATN is below LN"] == [
        "confirmed",
        "not confirmed",
        "not confirmed",
    ]


def test_the_first_steep_fall() -> None:
    says = "ATN falls at least as steeply as LN at first"
    slow = make_run("copying", "atn", falls_to(0.13, within=2000), preset="released")
    assert outcomes("copying", copying_runs(100))[says] == ["confirmed"]
    assert outcomes("copying", [copying_run("ln", 0.15), slow])[says] == ["not confirmed"]


@pytest.mark.parametrize(("factor", "outcome"), [(1.9, "confirmed"), (2.1, "not confirmed"), (0.4, "not confirmed")])
def test_curves_that_part_or_close_up_are_not_parallel(factor: float, outcome: str) -> None:
    def curve(step: int) -> float:
        return 0.0005 * (1 if step <= 15_000 else factor)

    runs = [adding_run("ln", 0.001, 1000), make_run("adding", "atn", curve, preset="released")]
    assert outcomes("adding", runs)["then ATN runs parallel to LN"] == [outcome]


def test_the_exact_variance_is_met_or_not() -> None:
    says = "Without a gain on W_hh h the variance of c is Var c (1 - B^t)"
    exact = variance_run("prop", 1.0, gamma_hh=0.0)
    assert outcomes("norm-variance", [exact])[says] == ["confirmed"]
    other = with_measured(exact, {"c variance 7": exact.points[-1].measured["c variance 7"] * 1.04})
    assert outcomes("norm-variance", [other])[says] == ["not confirmed"]


@pytest.mark.parametrize(
    ("loss", "below_ln", "below_it"), [(0.14, True, True), (0.13, True, False), (0.16, False, True)]
)
def test_detached_atn_stands_between_ln_and_atn_or_not(loss: float, *, below_ln: bool, below_it: bool) -> None:
    found = outcomes_in(DETACHED, [*copying_runs(100), copying_run("detached", loss)])
    words = {True: ["confirmed"] * 3, False: ["not confirmed"] * 3}
    assert found["detached ATN is below LN"] == words[below_ln]
    assert found["ATN is below detached ATN"] == words[below_it]
    assert found["detached ATN gets below the baseline (0.1733)"] == ["confirmed"] * 3


def test_a_training_minimum_of_a_language_model_is_of_an_epoch() -> None:
    def lucky(step: int) -> float:
        return 0.1 if step == 800 else 1.0

    def measured(step: int, _: float) -> dict[str, float]:
        return {"validation": 1.0 + step / 1e6, "validation_carried": 1.0}

    runs = [
        make_run("char-ptb", "atn", lucky, measured=measured),
        language_run("char-ptb", "ln", Losses(1.0, 1.1)),
    ]
    (part,) = [part for part in verdict_on("table-4", runs).parts if "LN" in part.sentence.needs]
    # The epoch of the lucky window is lower by 0.9 / 713 nats than 1 / ln 2 = 1.443 bits.
    assert part.findings[0].numbers.startswith("ATN 1.441 / 1.444")
    assert part.outcome == "not confirmed"


def test_one_lower_loss_denies_that_a_model_is_no_lower() -> None:
    """A training loss that is lower is enough, with the validation the same."""

    def same(*_: object) -> dict[str, float]:
        return {"validation": 0.0945}

    runs = [copying_run("lstm", 0.0945, T=200, measured=same), copying_run("ln", 0.08, T=200, measured=same)]
    assert outcomes("copying", runs)["LN is no lower than LSTM"] == ["not confirmed"] * 3


def test_a_margin_is_a_share_of_the_other_loss() -> None:
    """0.6 is not below 1 by more than a half of it."""
    assert below(0.49, 1.0, 0.5)
    assert not below(0.6, 1.0, 0.5)


def test_parallel_begins_with_the_sixth_tenth() -> None:
    """Of ten parts of 2,000 steps it ends with step 12,000."""

    def curve(step: int) -> float:
        return 0.0005 * (1 if step <= 12_000 else 2.1)

    runs = [adding_run("ln", 0.001, 1000), make_run("adding", "atn", curve, preset="released")]
    assert outcomes("adding", runs)["then ATN runs parallel to LN"] == ["not confirmed"]


def test_the_row_that_ends_the_first_tenth_does_not_count() -> None:
    early = make_run("copying", "atn", lambda step: 0.2 if step <= 400 else 0.05, preset="released")
    assert share_below(early, make_run("copying", "ln", lambda _: 0.1, preset="released")) == 1


def test_nearer_to_1_is_by_the_size_of_the_logarithm() -> None:
    found = outcomes("norm-variance", [variance_run("prop", 1.05), variance_run("lstm", 0.2)])
    assert found["The variance of h is nearer to 1 under Norm-Prop than under LSTM"] == ["confirmed"]


@pytest.mark.parametrize(("step", "outcome"), [(9, "confirmed"), (10, "not confirmed")])
def test_the_variance_counts_from_step_10_on(step: int, outcome: str) -> None:
    run = with_measured(variance_run("prop", 1.0), {f"h variance {step - 1}": 2.0})
    assert outcomes("norm-variance", [run])["Norm-Prop keeps the variance of h within 10% of 1"] == [outcome]


def test_statistics_vary_by_twice_as_much_as_under_ln() -> None:
    says = "Mean and variance after the norm of {} vary under ATN (k = 55)"
    of_ln = statistics_run(1, {"hh": 0.04, "ih": 0.03, "c": 0.001})
    found = outcomes("statistics", [of_ln, statistics_run(55, {"hh": 0.07, "ih": 0.07, "c": 0.2})])
    by_product = {product: found[says.format(product)] for product in ("W_hh h", "W_ih x", "c")}
    assert by_product == {"W_hh h": ["not confirmed"], "W_ih x": ["confirmed"], "c": ["confirmed"]}


def test_norm_prop_is_judged_by_its_lowest_validation() -> None:
    def measured(step: int, _: float) -> dict[str, float]:
        return {"validation": step / 783}

    run = make_run("char-ptb", "prop", lambda _: 1.0, preset="normprop", measured=measured)
    assert norm_prop.lowest_bits(run) == pytest.approx(char_ptb.bits_per_character(261 / 783))


def test_counts_of_genes_are_means_over_the_data_sets() -> None:
    def measured(step: int, _: float) -> dict[str, float]:
        return {"validation": 0.1, "whole": 100.0 + step, "within": float(step), "random": 50.0}

    assert counts(make_run("zero-share", "equal", lambda _: 0.1, measured=measured)) == (110.5, 10.5, 50.0)


@pytest.mark.parametrize(("depth", "outcome"), [(8, "confirmed"), (10, "not confirmed")])
def test_networks_of_10_layers_are_deep(depth: int, outcome: str) -> None:
    found = outcomes("one-example", [one_example_run("shift", "default", {depth: 0.19}, 1e-9)])
    assert found["Without the norm no network of 10 or more layers trains"] == [outcome]


def test_accuracies_are_of_the_split_that_is_named() -> None:
    """Training cases that both readouts fit alike change nothing, and the table has them in their column."""
    run = readouts_run("ln")
    run = with_measured(run, {name: 0.7 for name in run.points[-1].measured if name.startswith("train ")})
    assert outcomes("neuroview", [run])["All states have the higher accuracy on most data sets, LN"] == ["confirmed"]
    lines = section(NEUROVIEW, gathered([run]))
    (row,) = (cells for line in lines if line.startswith("| LN |") and len(cells := line[2:-2].split(" | ")) > 14)
    assert row[7] == "0.7000 / 0.7000"


def test_both_ends_belong_to_the_planted_steps() -> None:
    """Without the last one the contributions of these steps would have 47 %."""
    found = outcomes("neuroview", [readouts_run("ln", shares={"contributions": 0.52})])
    assert found["The contributions find the planted steps, LN"] == ["confirmed"]


def test_the_last_twentieth_is_of_the_same_steps_in_training_and_in_validation() -> None:
    """Of 110 steps the last five."""

    def measured(step: int, _: float) -> dict[str, float]:
        return {"validation": float(step)}

    run = make_run("copying", "ln", float, preset="released", measured=measured, steps=110, validate_every=1)
    assert LAST_TWENTIETH.of(run) == Losses(108.0, 108.0)
