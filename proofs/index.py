"""The table of proofs and the claims that they settle; `python -m proofs` and the tests read it."""

from collections.abc import Callable
from typing import NamedTuple

from proofs import ada_norm, channel_norm, hippo, lyapunov, mptt, neuroview, norm_prop
from proofs.atn import (
    control,
    exploding,
    gradients,
    networks,
    proposition1,
    recurrence,
    scaling,
    sign,
    table_b1,
    window,
)
from proofs.evidence import Evidence


class Proof(NamedTuple):
    """A proof and the claims of `papers` that it settles or helps to settle.

    Attributes
    ----------
    name : module and function, or the cell
    claims : ids
    prove : returns the evidence, every piece of which must be established
    """

    name: str
    claims: tuple[str, ...]
    prove: Callable[[], tuple[Evidence, ...]]


def _proof(prove: Callable[[], tuple[Evidence, ...]], *claims: str) -> Proof:
    return Proof(f"{prove.__module__.removeprefix('proofs.')}.{prove.__name__}", claims, prove)


def _cell(cell: table_b1.Cell) -> Proof:
    return Proof(f"table_b1: {cell.row.name}, {cell.norm}", (cell.claim,), lambda: table_b1.prove(cell))


PROOFS: tuple[Proof, ...] = (
    _proof(window.deviations_sum_to_zero, "eq-7", "eq-8", "eq-13"),
    _proof(
        window.layer_norm_is_k_one,
        "eq-5",
        "eq-6",
        "eq-9",
        "s5-ln-constant-statistics",
        "s1-time-invariant-distribution",
    ),
    _proof(window.cheap_form, "eq-8", "s3-fixed-cost"),
    _proof(
        window.affine_lemma,
        "eq-10",
        "s1-step-scale-invariance",
        "s3-input-norm-lost",
        "s3-sequence-rescaling",
        "s3-bias-mitigates",
    ),
    _proof(window.no_new_parameters, "eq-9", "s1-no-new-parameters"),
    _proof(window.gain_and_shift, "s3-gamma-beta-derivatives"),
    _proof(window.warm_up, "figure-1", "eq-7", "eq-8"),
    _proof(proposition1.leaves, "prop-1", "eq-12", "eq-13", "eq-a1-a3", "eq-a4-a7", "eq-a8-a10"),
    _proof(proposition1.bracket, "eq-13", "eq-a1-a3"),
    _proof(proposition1.bracket_with_k_as_count, "eq-13", "eq-a1-a3"),
    _proof(proposition1.total_derivatives, "prop-1", "eq-a4-a7", "eq-a8-a10"),
    _proof(proposition1.quotient_rule, "eq-a11-a12", "eq-11"),
    _proof(proposition1.jacobian, "prop-1", "eq-11"),
    _proof(recurrence.coupled_units, "prop-1", "eq-11", "eq-12", "eq-13", "eq-a4-a7", "eq-a8-a10"),
    _proof(recurrence.coupling_in_general, "eq-12", "eq-a4-a7"),
    _proof(recurrence.paths, "eq-a13", "eq-11", "prop-1"),
    _proof(recurrence.corrected_formula_at_points, "eq-a13", "prop-1"),
    _proof(recurrence.sum_over_paths, "eq-a13"),
    _proof(recurrence.backpropagation, "prop-1"),
    _proof(recurrence.backward_passes, "prop-1", "eq-9"),
    _proof(scaling.weight_scaling, "eq-10"),
    _proof(scaling.where_it_fails, "eq-10"),
    _proof(scaling.bound, "eq-10"),
    _proof(gradients.orthogonality, "s3-gradient-scaling"),
    _proof(gradients.inverse_scaling, "s3-gradient-scaling"),
    _proof(gradients.small_weights, "s3-gradient-scaling"),
    _proof(sign.layer_norm_keeps_the_sign, "s5-ln-erases-input"),
    _proof(sign.eps_keeps_the_magnitude, "s5-ln-erases-input"),
    _proof(sign.window_keeps_the_magnitude, "s5-ln-erases-input"),
    _proof(control.largest_deviation, "s1-controlled-norm"),
    _proof(control.mean_square_of_output, "s1-controlled-norm"),
    _proof(control.mean_of_output, "s1-controlled-norm"),
    _proof(control.change_of_statistics, "s3-statistics-vary-slowly"),
    _proof(control.change_over_all_steps, "s3-all-steps-vary-early"),
    _proof(control.dilution, "s1-full-average-dilutes"),
    _proof(control.larger_sample, "s3-larger-sample"),
    _proof(control.shared_factor, "s3-larger-sample"),
    _proof(control.higher_moments, "s1-time-invariant-distribution"),
    _proof(control.statistics_vary, "s3-nonuniform-statistics", "s5-ln-constant-statistics"),
    _proof(control.one_element, "s3-sequence-rescaling"),
    _proof(control.bias_inside, "s3-bias-mitigates"),
    _proof(exploding.gated_cells_explode, "s1-gated-explode"),
    _proof(exploding.gates_keep_a_gradient, "s1-gated-do-not-vanish"),
    _proof(exploding.norms_do_not_prevent_it, "s1-prevents-exploding"),
    _proof(networks.gate_order, "eq-14"),
    _proof(networks.cell_derivatives, "eq-15", "eq-16"),
    *(_cell(cell) for cell in table_b1.CELLS),
    _proof(norm_prop.product_rule, "np-7"),
    _proof(norm_prop.sigmoid_moments, "np-8", "np-12"),
    _proof(norm_prop.cell_variance, "np-8", "np-variance-of-the-cell"),
    _proof(norm_prop.hidden_variance, "np-12"),
    _proof(norm_prop.first_step, "np-preserves"),
    _proof(norm_prop.deviation_of_a_sum, "np-9-10"),
    _proof(norm_prop.weight_gradient, "np-18"),
    _proof(norm_prop.scaling_of_a_row, "np-16-17"),
    _proof(norm_prop.growth_of_a_row, "np-rows-grow"),
    _proof(norm_prop.folded, "np-cost"),
    _proof(norm_prop.determinant, "np-20-26"),
    _proof(norm_prop.through_the_cell, "np-20-26"),
    _proof(ada_norm.backward_terms, "ada-backward"),
    _proof(ada_norm.recentering, "ada-recentering"),
    _proof(ada_norm.along_the_deviations, "ada-variance"),
    _proof(ada_norm.smaller_variance, "ada-variance"),
    _proof(ada_norm.ada_norm, "ada-gradient"),
    _proof(ada_norm.ada_norm_monotone, "ada-monotone"),
    _proof(channel_norm.collapse, "cn-collapse"),
    _proof(channel_norm.projected_gradient, "cn-gradient", "cn-scale"),
    _proof(channel_norm.filters_grow, "cn-scale", "cn-bounded"),
    _proof(channel_norm.gradient_bound, "cn-bounded"),
    _proof(channel_norm.released_projection, "cn-figure-4b"),
    _proof(channel_norm.fourier_law, "cn-figure-4a"),
    _proof(channel_norm.exponential_time, "cn-exponential"),
    _proof(channel_norm.default_initialization, "cn-default-initialization"),
    _proof(lyapunov.sum_of_all, "ly-sum"),
    _proof(lyapunov.order, "ly-order"),
    _proof(lyapunov.adjoint, "ly-adjoint"),
    _proof(lyapunov.determinant, "ly-determinant"),
    _proof(lyapunov.without_recurrent_product, "ly-memory"),
    _proof(lyapunov.through_the_memory, "ly-hidden-state-alone"),
    _proof(lyapunov.window_rows, "ly-window-state"),
    _proof(lyapunov.layer_norm_forgets, "ly-ln-forgets"),
    _proof(hippo.jensen, "hp-jensen"),
    _proof(hippo.null_variance, "hp-null"),
    _proof(hippo.occupancy, "hp-occupancy"),
    _proof(hippo.negative_binomial, "hp-negative-binomial"),
    _proof(hippo.unequal_depth, "hp-depth"),
    _proof(hippo.normalizing_first, "hp-noise"),
    _proof(neuroview.completeness, "nv-definition", "nv-complete"),
    _proof(neuroview.derived_from_standard, "nv-family"),
    _proof(neuroview.direct_gradient, "nv-direct-gradient"),
    _proof(neuroview.rescaled_states, "nv-quantify"),
    _proof(neuroview.running_sum, "nv-quantify"),
    _proof(neuroview.interpolation, "nv-interpolates"),
    _proof(mptt.exact_heads, "mp-exact"),
    _proof(mptt.contraction, "mp-contraction"),
    _proof(mptt.keeper, "mp-keeper"),
    _proof(mptt.stale, "mp-stale"),
    _proof(mptt.floor, "mp-floor"),
)
