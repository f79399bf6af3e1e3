"""The studies of the report: those of the paper in its order, then what it does not have."""

from experiments.report.schema import Study
from experiments.report.selection import shows
from experiments.report.studies.ablation import DETACHED, PIXEL_MNIST, WINDOW_STUDY
from experiments.report.studies.language import CHAR_PTB, WIKITEXT2
from experiments.report.studies.mptt.study import MPTT, MPTT_SECONDS
from experiments.report.studies.neuroview import NEUROVIEW
from experiments.report.studies.norm_prop import NORM_PROP
from experiments.report.studies.norm_statistics import STATISTICS
from experiments.report.studies.norm_variance import NORM_VARIANCE
from experiments.report.studies.one_example import ONE_EXAMPLE
from experiments.report.studies.spectrum import SPECTRUM, TRAINED_SPECTRUM
from experiments.report.studies.synthetic import ADDING, COPYING, DENOISE
from experiments.report.studies.zero_share import ZERO_SHARE
from experiments.training.records.record import Record

STUDIES: tuple[Study, ...] = (
    COPYING,
    ADDING,
    DENOISE,
    CHAR_PTB,
    WIKITEXT2,
    PIXEL_MNIST,
    STATISTICS,
    WINDOW_STUDY,
    DETACHED,
    NORM_PROP,
    NORM_VARIANCE,
    ONE_EXAMPLE,
    SPECTRUM,
    TRAINED_SPECTRUM,
    ZERO_SHARE,
    NEUROVIEW,
    MPTT,
    MPTT_SECONDS,
)


def home(record: Record) -> Study | None:
    """The study that a run is made for: the first one that shows it, or else the first of its task; None for no task.

    Other studies may show the run beside their own.
    """
    of_task = [study for study in STUDIES if study.task == record.task]
    return next((study for study in STUDIES if shows(study, record)), of_task[0] if of_task else None)
