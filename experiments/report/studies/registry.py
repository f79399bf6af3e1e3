"""The studies of the report, in the order of the paper."""

from experiments.report.schema import Study
from experiments.report.studies.ablation import PIXEL_MNIST, WINDOW_STUDY
from experiments.report.studies.language import CHAR_PTB, WIKITEXT2
from experiments.report.studies.norm_statistics import STATISTICS
from experiments.report.studies.synthetic import ADDING, COPYING, DENOISE

STUDIES: tuple[Study, ...] = (COPYING, ADDING, DENOISE, CHAR_PTB, WIKITEXT2, PIXEL_MNIST, STATISTICS, WINDOW_STUDY)
