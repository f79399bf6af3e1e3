"""Every proof of `proofs.index` but the cells of Table B.1 stands, and a wrong formula would not."""

from types import ModuleType
from typing import Any

import pytest
import sympy as sp

from proofs import ada_norm, channel_norm, hippo, lyapunov, mptt, neuroview, norm_prop
from proofs.atn import control, exploding, gradients, networks, proposition1, recurrence, scaling, sign, window
from proofs.atn.window import a, window_mean, window_variance
from proofs.evidence import Difference, Identity, NonNegative, Positive, open_ends
from proofs.index import PROOFS, Proof
from proofs.sums import j, k, n, over_units, over_window, residual, s


def proofs_of(module: ModuleType) -> list[Any]:
    """The proofs of one module, each marked with the claims that it settles."""
    prefix = module.__name__.removeprefix("proofs.") + "."
    chosen = [proof for proof in PROOFS if proof.name.startswith(prefix)]
    return [
        pytest.param(proof, id=proof.name.removeprefix(prefix), marks=pytest.mark.claim(*proof.claims))
        for proof in chosen
    ]


@pytest.mark.parametrize("proof", proofs_of(window))
def test_window(proof: Proof) -> None:
    assert open_ends(proof.prove()) == []


@pytest.mark.parametrize("proof", proofs_of(proposition1))
def test_proposition1(proof: Proof) -> None:
    assert open_ends(proof.prove()) == []


@pytest.mark.parametrize("proof", proofs_of(recurrence))
def test_recurrence(proof: Proof) -> None:
    assert open_ends(proof.prove()) == []


@pytest.mark.parametrize("proof", proofs_of(scaling))
def test_scaling(proof: Proof) -> None:
    assert open_ends(proof.prove()) == []


@pytest.mark.parametrize("proof", proofs_of(gradients))
def test_gradients(proof: Proof) -> None:
    assert open_ends(proof.prove()) == []


@pytest.mark.parametrize("proof", proofs_of(sign))
def test_sign(proof: Proof) -> None:
    assert open_ends(proof.prove()) == []


@pytest.mark.parametrize("proof", proofs_of(control))
def test_control(proof: Proof) -> None:
    assert open_ends(proof.prove()) == []


@pytest.mark.parametrize("proof", proofs_of(networks))
def test_networks(proof: Proof) -> None:
    assert open_ends(proof.prove()) == []


@pytest.mark.parametrize("proof", proofs_of(norm_prop))
def test_norm_prop(proof: Proof) -> None:
    assert open_ends(proof.prove()) == []


@pytest.mark.parametrize("proof", proofs_of(ada_norm))
def test_ada_norm(proof: Proof) -> None:
    assert open_ends(proof.prove()) == []


@pytest.mark.parametrize("proof", proofs_of(hippo))
def test_hippo(proof: Proof) -> None:
    assert open_ends(proof.prove()) == []


@pytest.mark.parametrize("proof", proofs_of(neuroview))
def test_neuroview(proof: Proof) -> None:
    assert open_ends(proof.prove()) == []


@pytest.mark.parametrize("proof", proofs_of(mptt))
def test_mptt(proof: Proof) -> None:
    assert open_ends(proof.prove()) == []


@pytest.mark.parametrize("proof", proofs_of(channel_norm))
def test_channel_norm(proof: Proof) -> None:
    assert open_ends(proof.prove()) == []


@pytest.mark.parametrize("proof", proofs_of(exploding))
def test_exploding(proof: Proof) -> None:
    assert open_ends(proof.prove()) == []


@pytest.mark.parametrize("proof", proofs_of(lyapunov))
def test_lyapunov(proof: Proof) -> None:
    assert open_ends(proof.prove()) == []


class TestNegativeControls:
    """A formula that is wrong leaves a residual."""

    def test_dropped_mean_term_of_the_jacobian(self) -> None:
        i, p, m = sp.symbols("i p m", integer=True)
        without_mean = proposition1.explicit_jacobian(i, p, m) + 1 / (n * k)
        assert residual(without_mean, proposition1.explicit_jacobian(i, p, m)) != 0

    def test_unbiased_variance(self) -> None:
        unbiased = window_variance() * n * k / (n * k - 1)
        assert residual(unbiased, window_variance()) != 0

    def test_variance_of_a_step_alone(self) -> None:
        """The cheap form without the spread of the step means."""
        m = over_units(a[j, s]) / n
        within = sp.Sum(over_units((a[j, s] - m) ** 2) / n, (j, 0, k - 1)) / k
        assert residual(within, window_variance()) != 0

    def test_variance_derivative_without_its_factor(self) -> None:
        leaf = a[sp.Symbol("m", integer=True), sp.Symbol("i", integer=True)]
        assert residual(sp.diff(window_variance(), leaf), (leaf - window_mean()) / (n * k)) != 0

    def test_window_of_a_leaf_taken_as_a_sum(self) -> None:
        assert residual(over_window(a[j, s]), window_mean()) != 0

    def test_backward_pass_with_another_window(self) -> None:
        """The backward pass of windows of two steps is not dy J of windows of three."""
        two, three = (recurrence.symbolic_layer(T=3, N=1, k=k) for k in (2, 3))
        assert sp.expand(recurrence.backward_by_hand(two)[0] - recurrence.backward_by_jacobian(two)[0]) == 0
        assert sp.expand(recurrence.backward_by_hand(two)[0] - recurrence.backward_by_jacobian(three)[0]) != 0

    def test_evidence_that_does_not_stand(self) -> None:
        x = sp.Symbol("x", real=True)
        evidence = (
            Identity("residual", x),
            Difference("equal numbers", sp.Rational(1, 2), sp.Rational(2, 4)),
            Difference("not rational", sp.sqrt(2), sp.Integer(1)),
            NonNegative("any sign", x),
            Positive("may be zero", x**2),
        )
        assert len(open_ends(evidence)) == len(evidence)

    def test_no_evidence_is_not_a_proof(self) -> None:
        with pytest.raises(ValueError, match="without evidence"):
            open_ends(())
