"""What the released code of Vogt et al. 2022 computes in the place of the spectrum: `proofs/ERRATA_LYAPUNOV.md`."""

import numpy as np
import pytest

from atn_reference import lyapunov_exponents
from tests.support.lyapunov import oracle_jacobians
from tests.support.problems import LSTMProblem

H = 16


@pytest.mark.claim("ly-hidden-state-alone")
def test_hidden_state_alone() -> None:
    """H exponents of dh/dh at fixed c, against the state's: a forget bias of 2 is a memory of ten steps and more."""
    problem = LSTMProblem(
        T=300, B=1, I=4, H=H, layers=1, directions=1, norm="none", k=1, eps=0.0, bias_placement="outside", bias=True,
        affine=False, initial_state=False, seed=2,
    )  # fmt: skip
    parameters = problem.parameters[0][0]
    # As torch draws them, uniform in +-1/4, but for the forget bias.
    uniform = np.random.default_rng(3).uniform
    bias = uniform(-0.25, 0.25, 4 * H)
    bias[H : 2 * H] = 2.0
    drawn = {name: uniform(-0.25, 0.25, getattr(parameters, name).shape) for name in ("weight_ih", "weight_hh")}
    problem.parameters[0][0] = parameters._replace(**drawn, bias_ih=bias, bias_hh=np.zeros(4 * H))
    jacobians = oracle_jacobians(problem)
    Q = np.linalg.qr(np.random.default_rng(4).standard_normal((2 * H, 2 * H)))[0]
    truth = lyapunov_exponents(jacobians, Q, burn_in=100)[0]
    alone = lyapunov_exponents(jacobians[:, :H, :H], Q[:H, :H], burn_in=100)[0]
    assert -0.12 < truth < -0.05
    assert -2.5 < alone < -1.5
