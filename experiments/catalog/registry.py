"""The tasks by name."""

from collections.abc import Mapping
from typing import Any

from experiments.related.channel_norm import one_example
from experiments.related.hippo import zero_share
from experiments.related.lyapunov import initial_spectrum, trained_spectrum
from experiments.related.mptt import epoch_seconds, long_series
from experiments.related.neuroview import readouts
from experiments.tasks import (
    adding,
    char_ptb,
    copying,
    denoise,
    norm_statistics,
    norm_variance,
    pixel_mnist,
    wikitext2,
    window_lengths,
)
from experiments.training.task import Task

_ALL: list[Task[Any]] = [
    Task(copying.NAME, copying.PRESETS, copying.Copying, more_models=("detached",)),
    Task(adding.NAME, adding.PRESETS, adding.Adding),
    Task(denoise.NAME, denoise.PRESETS, denoise.Denoise),
    Task(char_ptb.NAME, char_ptb.PRESETS, char_ptb.CharPtb, reads_data=True, more_models=("prop", "wn", "bn")),
    Task(wikitext2.NAME, wikitext2.PRESETS, wikitext2.WikiText2, reads_data=True),
    Task(pixel_mnist.NAME, pixel_mnist.PRESETS, pixel_mnist.PixelMnist, reads_data=True),
    Task(norm_statistics.NAME, norm_statistics.PRESETS, norm_statistics.Statistics, plan=norm_statistics.plan),
    Task(window_lengths.NAME, window_lengths.PRESETS, copying.Copying, plan=window_lengths.plan),
    Task(norm_variance.NAME, norm_variance.PRESETS, norm_variance.NormVariance, more_models=("prop", "wn", "bn")),
    Task(
        one_example.NAME,
        one_example.PRESETS,
        one_example.OneExample,
        plan=one_example.plan,
        standard_models=one_example.MODELS,
    ),
    Task(initial_spectrum.NAME, initial_spectrum.PRESETS, initial_spectrum.InitialSpectrum, plan=initial_spectrum.plan),
    Task(
        trained_spectrum.NAME,
        trained_spectrum.PRESETS,
        trained_spectrum.TrainedSpectrum,
        plan=trained_spectrum.plan,
        reads_data=True,
    ),
    Task(zero_share.NAME, zero_share.PRESETS, zero_share.ZeroShare, standard_models=zero_share.MODELS),
    Task(readouts.NAME, readouts.PRESETS, readouts.Readouts, reads_data=True),
    Task(
        long_series.NAME,
        long_series.PRESETS,
        long_series.LongSeries,
        plan=long_series.plan,
        standard_models=long_series.MODELS,
    ),
    Task(
        epoch_seconds.NAME,
        epoch_seconds.PRESETS,
        epoch_seconds.EpochSeconds,
        plan=epoch_seconds.plan,
        standard_models=long_series.MODELS,
    ),
]

TASKS: Mapping[str, Task[Any]] = {task.name: task for task in _ALL}
