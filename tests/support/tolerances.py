"""The only place where a tolerance is written, each with its reason.

A bound is relative to the largest magnitude of the compared array (`comparison.assert_close`) and holds for every
element. It is a multiple of the machine epsilon u of the dtype: u times the number of roundings that can pile up, times
the largest factor by which a well-conditioned problem of `strategies.py` passes a rounding on. Widening one needs a
line in the changelog that explains the error first.
"""

from typing import NamedTuple


class Tolerance(NamedTuple):
    """A bound on the largest elementwise error, relative to the largest magnitude of the expected array."""

    relative: float
    reason: str


EPSILON = {"bfloat16": 2.0**-8, "float16": 2.0**-11, "float32": 2.0**-24, "float64": 2.0**-53, "longdouble": 2.0**-64}
"""Unit round-off u of each dtype (half the distance from 1 to the next number)."""

_OUTPUT = "sums of up to 100 terms, 12 steps of recurrence, 1/sqrt(var) amplifies by at most about 30"
_GRADIENT = "as the output, and the reverse loop passes every rounding on once more"
_PARAMETER = "as the gradient, summed over time and batch"
_HALF = "inputs and outputs are rounded to the half type once, all between is float32"

TOLERANCES: dict[tuple[str, str], Tolerance] = {
    ("longdouble", "output"): Tolerance(1e5 * EPSILON["longdouble"], _OUTPUT),
    ("longdouble", "gradient"): Tolerance(1e6 * EPSILON["longdouble"], _GRADIENT),
    ("longdouble", "parameter_gradient"): Tolerance(1e6 * EPSILON["longdouble"], _PARAMETER),
    ("float64", "output"): Tolerance(1e4 * EPSILON["float64"], _OUTPUT),
    ("float64", "gradient"): Tolerance(1e5 * EPSILON["float64"], _GRADIENT),
    ("float64", "parameter_gradient"): Tolerance(1e5 * EPSILON["float64"], _PARAMETER),
    ("float32", "output"): Tolerance(1e3 * EPSILON["float32"], _OUTPUT),
    ("float32", "gradient"): Tolerance(5e3 * EPSILON["float32"], _GRADIENT),
    ("float32", "parameter_gradient"): Tolerance(5e3 * EPSILON["float32"], _PARAMETER),
    ("bfloat16", "output"): Tolerance(2 * EPSILON["bfloat16"], _HALF),
    ("bfloat16", "gradient"): Tolerance(4 * EPSILON["bfloat16"], _HALF),
    ("bfloat16", "parameter_gradient"): Tolerance(4 * EPSILON["bfloat16"], _HALF),
    ("float16", "output"): Tolerance(2 * EPSILON["float16"], _HALF),
    ("float16", "gradient"): Tolerance(4 * EPSILON["float16"], _HALF),
    ("float16", "parameter_gradient"): Tolerance(4 * EPSILON["float16"], _HALF),
    ("float32", "offset"): Tolerance(
        2 * 1e4 * EPSILON["float32"], "at a common offset of 1e4 one rounding of a mean shifts every deviation by 1e4 u"
    ),
    ("float32", "long window"): Tolerance(
        4e3 * EPSILON["float32"],
        "at a common offset of 1000 each of 15 merges rounds the mean by up to 1000 u; the output reaches 4",
    ),
    ("float32", "long sum"): Tolerance(
        8 * EPSILON["float32"],
        "sums of 15,000 terms of one sign: a few roundings of the sum itself, and those of the terms cancel out; one "
        "term after the other would lose about 100 u",
    ),
    ("float64", "trajectory"): Tolerance(
        1e-10, "ten optimization steps, each of which divides a gradient by a running root mean square of itself"
    ),
    ("float64", "reference"): Tolerance(
        1e2 * EPSILON["float64"], "relative L2 error of a small problem: a few roundings a step, averaged over elements"
    ),
    ("longdouble", "reference"): Tolerance(1e2 * EPSILON["longdouble"], "the same"),
    ("float64", "symbolic"): Tolerance(
        1e2 * EPSILON["float64"], "an exact expression, rounded once, against one evaluation"
    ),
    ("float64", "exact"): Tolerance(0.0, "the same operations in the same order"),
    ("float32", "exact"): Tolerance(0.0, "the same operations in the same order"),
    ("bfloat16", "exact"): Tolerance(0.0, "the same operations in the same order"),
}

VANISHING = 1e-2
"""Fraction of a problem's largest gradient below which an array counts as vanishing by symmetry.

The gradient of a norm over two features, or of a shift in front of a norm, is zero but for eps: what is computed there
is the rounding of terms that cancel. Such an array is held to the size of those terms, or of the gradients beside it.
"""

CONDITION_MULTIPLE = 20.0
"""Multiple of a problem's own condition that an error may reach where it exceeds the plain bound.

The bounds above assume a well-conditioned problem. Among thousands of random ones some are not: a variance near eps, a
reverse loop through three layers. An implementation that rounds each operation gives the exact result of inputs changed
by some unit round-offs; none can promise an error below the change that one unit round-off of every input makes, which
`condition.py` measures in a few random directions. A good one stays within a small multiple of it, for the roundings of
each step and layer and the directions not tried. Over every array of 300 random problems the multiple had the median
0.8 and the largest value 5.7 in float32; it was below 3 wherever the plain bound was exceeded in 4,000 problems. An
operation that loses digits, such as mean of squares minus squared mean, is not held in by any multiple.
"""

STANDARD_ERRORS = 4.0
"""How many of its own standard errors a seeded simulation may be from an exact value.

A draw beyond is one in 16,000, and the seeds are fixed: a test that passes once passes always.
"""
