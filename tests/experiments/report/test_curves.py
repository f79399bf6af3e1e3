"""Panels of the figures of losses."""

from experiments.report.curves import _limits, _own_limits
from experiments.report.section import panels
from experiments.report.studies.synthetic import COPYING
from tests.support.experiment_runs import gathered
from tests.support.made_up_runs import copying_run


def test_panels_that_show_the_same_share_their_axis() -> None:
    """Settings of the text, and of the script, with which the loss falls to half of that."""
    runs = [copying_run("atn", 0.14, preset="paper"), copying_run("atn", 0.07, preset="released")]
    drawn = [(panel, panel.case.axes[0]) for panel in panels(COPYING, COPYING.figures[0], gathered(runs))]
    own = [_own_limits(axis, panel.runs) for panel, axis in drawn]
    assert len(set(own)) == 2
    assert _limits(drawn) == [(min(low for low, _ in own), max(high for _, high in own))] * 2
    # The accuracy has limits of its own.
    other = (drawn[0][0], drawn[0][1]._replace(measure="accuracy"))
    assert _limits([*drawn, other])[2] == (0.0, 1.0)
