"""The state of a recurrent layer as rows of numbers, one row for each case, as the memory of states keeps it.

A row has h, c and, for a layer with windows, the mean and the variance of every step in the window of each norm. NaN
stands for windows without steps.
"""

import numpy as np
import torch
from torch import Tensor

from atn import ATNLSTM, LSTMState
from atn.state import LayerMemory
from atn.window import StepStatistics
from experiments.related.mptt.state_memory import Rows


class StateRows:
    """Turns states of one layer into rows of D numbers and back.

    Parameters
    ----------
    lstm : ATNLSTM
        A layer with a norm that a stream has a state of, in one direction.

    Attributes
    ----------
    start : (D,)
        Row of a case before its first step.
    """

    def __init__(self, lstm: ATNLSTM) -> None:
        weight = next(lstm.parameters())
        self._device = weight.device
        with torch.no_grad():
            # One step more than a window keeps, so that the windows are full.
            steps = lstm.k or 1
            _, self._example = lstm.stream(torch.zeros(steps, 1, lstm.input_size).to(weight))
        self._widths = [part.shape[1] for part in _parts(self._example)]
        row = np.full(sum(self._widths), np.nan)
        row[: 2 * lstm.hidden_size] = 0
        self.start: Rows = row.astype(self.rows(self._example).dtype)

    def rows(self, state: LSTMState) -> Rows:
        """Rows (B, D) of a state whose windows are full.

        Raises
        ------
        ValueError
            If a case has shorter windows.
        """
        found: Rows = torch.cat(_parts(state.detach()), 1).cpu().numpy()
        if state.lengths is not None or found.shape[1] != sum(self._widths):
            raise ValueError(
                f"state has {found.shape[1]} numbers a case; it must have full windows, {sum(self._widths)}"
            )
        return found

    def state(self, rows: Rows) -> LSTMState | None:
        """State of these rows; None if no case has made a step in a layer with windows."""
        empty = np.isnan(rows).any(1)
        if empty.all():
            return None
        h, c, *statistics = torch.split(torch.from_numpy(rows).to(self._device), self._widths, 1)
        memory = self._example.memory[0]
        if memory is not None:
            each = iter([part.T.contiguous() for part in statistics])
            memory = LayerMemory(*(StepStatistics(next(each), next(each)) for _ in memory))
        state = self._example._replace(h=h[None].contiguous(), c=c[None].contiguous(), memory=(memory,))
        return state.reset(torch.from_numpy(empty).to(self._device)) if empty.any() else state


def _parts(state: LSTMState) -> list[Tensor]:
    """Everything in a state of one layer, (B, width) each: h, c, then mean and variance of each window."""
    windows = [] if state.memory[0] is None else [part.T for norm in state.memory[0] for part in norm]
    return [state.h[0], state.c[0], *windows]
