"""Which runs belong to the series of a study, and which of them decide its sentences."""

from experiments.report.results import Result, Results
from experiments.report.schema import Case, Presets, Runs, Series, Study
from experiments.training.records.record import Record


def deciding_runs(results: Results, presets: Presets, case: Case) -> Runs:
    """The finished and verified runs of a case with unchanged presets, by label; labels without runs are left out."""
    by_label = {series.label: deciding_runs_of(results, presets, case, series) for series in case.series}
    return {label: runs for label, runs in by_label.items() if runs}


def deciding_runs_of(results: Results, presets: Presets, case: Case, series: Series) -> list[Result]:
    """The runs of one series that decide sentences: unchanged, verified, and one for each seed."""
    found = [
        result
        for result in results.finished
        if decides(result.record) and belongs(result.record, presets, case, series)
    ]
    by_seed = {result.seed: result for result in found}
    return [by_seed[seed] for seed in sorted(by_seed)]


def decides(record: Record) -> bool:
    """Whether a run decides sentences: its settings equal its preset and the whole run had a stamp."""
    return not (record.differences or record.shortened or record.unverified)


def belongs(record: Record, presets: Presets, case: Case, series: Series) -> bool:
    """Whether a run belongs to the series, even if other settings differ from its preset."""
    where = {**case.where, **series.where}
    return (
        record.preset in presets
        and (record.task, record.model) == (series.task, series.model)
        and all(record.settings.get(name) == value for name, value in where.items())
    )


def diverged(results: Results, presets: Presets, case: Case, series: Series) -> set[int]:
    """Seeds of a series whose run, unchanged and verified, ended at a loss that is not finite."""
    return {
        record.settings["seed"]
        for record in results.unfinished
        if record.status == "nan" and decides(record) and belongs(record, presets, case, series)
    }


def shows(study: Study, record: Record) -> bool:
    """Whether a run belongs to a series of the study."""
    return any(
        belongs(record, presets, case, series)
        for presets in study.presets
        for case in study.cases
        for series in case.series
    )
