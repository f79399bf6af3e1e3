"""What `proofs/ERRATA.md` says, number by number: each counterexample exact, each correction exact."""

import pytest
import sympy as sp

from proofs.atn import control, gradients, proposition1, recurrence, scaling, sign, window
from proofs.atn.recurrence import CROSSED, LAG_ONE, ONE_UNIT, printed_chain, total_derivative
from proofs.atn.scaling import output
from proofs.evidence import Difference, Evidence, open_ends

R = sp.Rational


def pairs(evidence: tuple[Evidence, ...]) -> dict[str, tuple[object, object]]:
    """The two values of each counterexample, by name."""
    return {piece.name: (piece.first, piece.second) for piece in evidence if isinstance(piece, Difference)}


class TestErratum1:
    """Eq. (13) and (A.3) differ by a bracket."""

    @pytest.mark.claim("eq-13", "eq-a1-a3")
    def test_second_sum_is_zero(self) -> None:
        assert open_ends(proposition1.bracket()) == []

    @pytest.mark.claim("eq-13", "eq-a1-a3")
    def test_bracket_matters_if_the_warm_up_divides_by_k(self) -> None:
        values = pairs(proposition1.bracket_with_k_as_count())
        assert values == {"(13) against (A.3)": (R(-1, 3), R(-1, 27))}


class TestErratum2:
    """(A.5) to (A.6) drops the other units: a^(2) = y^(1) + u, n = 2, k = 2, rows (0, 0), (2, 2), (0, 0), eps = 3."""

    @pytest.mark.claim("eq-a4-a7")
    def test_other_unit_depends_at_lag_one(self) -> None:
        assert total_derivative(LAG_ONE, "a", 2, 1, 1, 0) == R(-5, 32)

    @pytest.mark.claim("eq-11", "eq-12", "eq-13", "eq-a4-a7", "eq-a8-a10", "prop-1")
    def test_printed_formulas_are_not_total_derivatives(self) -> None:
        assert pairs(recurrence.coupled_units()) == {
            "d a_2^(t) / d a_1^(t-1), dropped": (R(-5, 32), 0),
            "d mu / d a_1^(t-1): differentiation against (12)": (R(19, 64), R(43, 128)),
            "d sigma^2 / d a_1^(t-1): differentiation against (13)": (R(13, 32), R(21, 64)),
            "d y_1 / d a_1^(t-1): differentiation against (11)": (R(25, 512), R(25, 1024)),
        }

    @pytest.mark.claim("eq-a4-a7", "eq-a8-a10", "prop-1")
    def test_correction_keeps_every_unit(self) -> None:
        assert open_ends(proposition1.total_derivatives()) == []


class TestErratum3:
    """(A.13) sends a^(t-m) to a^(t) through y^(t-m) alone."""

    @pytest.mark.claim("eq-a13")
    def test_lag_zero(self) -> None:
        assert printed_chain(ONE_UNIT, 2, 0, 0) == 0

    @pytest.mark.claim("eq-a13")
    def test_lag_one_needs_a_diagonal_recurrence(self) -> None:
        assert (total_derivative(CROSSED, "a", 2, 0, 1, 0), printed_chain(CROSSED, 2, 0, 1)) == (R(-5, 32), 0)
        assert total_derivative(LAG_ONE, "a", 2, 0, 1, 0) == printed_chain(LAG_ONE, 2, 0, 1) == R(11, 32)

    @pytest.mark.claim("eq-a13", "prop-1")
    def test_lag_two_even_for_one_unit(self) -> None:
        assert (total_derivative(ONE_UNIT, "a", 4, 0, 2, 0), printed_chain(ONE_UNIT, 4, 0, 2)) == (
            R(-5, 144),
            R(7, 144),
        )

    @pytest.mark.claim("eq-a13", "prop-1")
    def test_correction_sums_over_paths(self) -> None:
        assert open_ends(recurrence.sum_over_paths()) == []
        assert open_ends(recurrence.corrected_formula_at_points()) == []

    @pytest.mark.claim("prop-1")
    def test_backpropagation_computes_it(self) -> None:
        assert open_ends(recurrence.backpropagation()) == []


class TestErratum4:
    """Eq. (10) and eps."""

    @pytest.mark.claim("eq-10")
    def test_positive_eps_and_negative_delta(self) -> None:
        assert pairs(scaling.where_it_fails()) == {
            "eps = 1, delta = 16/9": (R(3, 5), R(4, 5)),
            "eps = 0, delta = -1": (1, -1),
        }

    @pytest.mark.claim("eq-10")
    @pytest.mark.parametrize("delta", [R(1, 100), R(1, 2), R(99, 100), R(101, 100), R(16, 9), R(100)])
    @pytest.mark.parametrize("eps", [R(1, 100000), R(1, 10), R(1), R(50)])
    def test_bound(self, delta: sp.Rational, eps: sp.Rational) -> None:
        row = (R(3), R(-1), R(1, 2), R(7, 3))
        deviation = row[0] - sum(row) / 4
        variance = sum((entry - sum(row) / 4) ** 2 for entry in row) / 4
        change = abs(output(tuple(delta * entry for entry in row), eps) - output(row, eps))
        limit = scaling.output_change_bound(deviation, variance, eps, delta)
        assert 0 < change <= limit


class TestErratum6:
    """The k of Eqs. (7)-(8) in the warm-up."""

    @pytest.mark.claim("figure-1", "eq-7", "eq-8")
    def test_three_readings_of_the_first_step(self) -> None:
        assert pairs(window.warm_up()) == {
            "mean: LN against k as the count": (2, R(2, 3)),
            "variance: LN against k as the count": (1, R(25, 27)),
            "variance: LN against zeros before the start": (1, R(11, 9)),
        }


class TestErratum7:
    """Gradients of scale-invariant weights."""

    @pytest.mark.claim("s3-gradient-scaling")
    def test_gradient_is_orthogonal_to_the_weights(self) -> None:
        assert open_ends(gradients.orthogonality()) == []

    @pytest.mark.claim("s3-gradient-scaling")
    def test_gradient_is_inversely_proportional_to_the_weights(self) -> None:
        assert open_ends(gradients.inverse_scaling()) == []
        assert pairs(gradients.small_weights()) == {"dL/dw_1 at W and at W/10": (R(37, 250), R(37, 25))}


class TestErratum8:
    """What LN and ATN keep of one input feature."""

    @pytest.mark.claim("s5-ln-erases-input")
    def test_layer_norm_keeps_the_sign_as_eps_vanishes(self) -> None:
        assert open_ends(sign.layer_norm_keeps_the_sign()) == []

    @pytest.mark.claim("s5-ln-erases-input")
    def test_layer_norm_keeps_the_magnitude_at_eps_one(self) -> None:
        assert pairs(sign.eps_keeps_the_magnitude()) == {"eps = 1, v = 1, x = 3/4 against 4/3": (R(3, 5), R(4, 5))}

    @pytest.mark.claim("s5-ln-erases-input")
    def test_window_keeps_the_magnitude(self) -> None:
        assert pairs(sign.window_keeps_the_magnitude()) == {"ATN at x_t = 1 against 7": (1, R(7, 5))}


class TestSentences:
    """Sentences that hold in a narrower sense than they are written."""

    @pytest.mark.claim("s1-time-invariant-distribution")
    def test_higher_moments_vary(self) -> None:
        assert pairs(control.higher_moments()) == {"fourth moment": (1, R(1201, 625))}

    @pytest.mark.claim("s3-statistics-vary-slowly")
    def test_not_more_stable_at_every_step(self) -> None:
        name = "change of the mean at the third step: k = 2 against LN"
        assert pairs(control.change_of_statistics()) == {name: (-2, 0)}

    @pytest.mark.claim("s3-all-steps-vary-early")
    def test_a_late_step_may_change_the_mean_more_than_an_early_one(self) -> None:
        name = "step means 0, 0, 1: change at the second step against the third"
        assert pairs(control.change_over_all_steps()) == {name: (0, R(1, 3))}

    @pytest.mark.claim("s3-larger-sample")
    def test_a_factor_that_all_entries_share(self) -> None:
        assert pairs(control.shared_factor()) == {"limit of its variance, against 0": (576, 0)}

    @pytest.mark.claim("s3-bias-mitigates")
    def test_bias_inside(self) -> None:
        assert pairs(control.bias_inside()) == {"b = (0, 7, -7, 0), x = 1 against 7": (R(1, 5), 1)}

    @pytest.mark.claim("s3-sequence-rescaling")
    def test_one_element(self) -> None:
        assert pairs(control.one_element()) == {"first unit before and after": (-1, R(-5, 7))}

    @pytest.mark.claim("s3-nonuniform-statistics", "s5-ln-constant-statistics")
    def test_statistics_vary(self) -> None:
        assert pairs(control.statistics_vary()) == {
            "mean at t = 1 against t = 2": (0, R(4, 5)),
            "variance at t = 1 against t = 2": (1, R(9, 25)),
        }
