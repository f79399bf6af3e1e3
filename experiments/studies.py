"""The studies that the report is about, in the order of the paper."""

from experiments.ablation_studies import PIXEL_MNIST, WINDOW_STUDY
from experiments.language_studies import CHAR_PTB, WIKITEXT2
from experiments.statistics_study import STATISTICS
from experiments.study import Study
from experiments.synthetic_studies import ADDING, COPYING, DENOISE

STUDIES: tuple[Study, ...] = (COPYING, ADDING, DENOISE, CHAR_PTB, WIKITEXT2, PIXEL_MNIST, STATISTICS, WINDOW_STUDY)
