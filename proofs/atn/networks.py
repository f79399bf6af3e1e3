"""The networks of the paper written out at a small size, Eqs. (1)-(4) and (14)-(16), to be differentiated by SymPy.

The tests compare the oracle's backpropagation through time with their gradients at rational points.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sympy as sp

from proofs.evidence import Evidence, Identity

DIGITS = 30
"""Number of digits with which gradients are evaluated before they are rounded to float64."""

Vector = list[Any]


class Network:
    """A network as the list of its equations; each sets a symbol equal to an expression in earlier symbols.

    Attributes
    ----------
    inputs : for each parameter and input, its symbols in the order of its flattened array
    equations : symbol and right-hand side, in the order of evaluation; the last one is the loss
    """

    def __init__(self, **sizes: int) -> None:
        self.inputs = {name: list(sp.symbols(f"{name}:{size}", real=True)) for name, size in sizes.items()}
        self.equations: list[tuple[Any, Any]] = []

    def let(self, expression: Any) -> Any:
        """A new symbol that equals the expression."""
        symbol = sp.Symbol(f"v{len(self.equations)}", real=True)
        self.equations.append((symbol, sp.sympify(expression)))
        return symbol

    def vector(self, expressions: Iterable[Any]) -> Vector:
        """New symbols that equal the expressions."""
        return [self.let(expression) for expression in expressions]

    def product(self, matrix: str, vector: Vector) -> Vector:
        """A parameter, as a matrix, times a vector."""
        entries, width = self.inputs[matrix], len(vector)
        rows = [entries[start : start + width] for start in range(0, len(entries), width)]
        return self.vector(sum(m * v for m, v in zip(row, vector, strict=True)) for row in rows)

    def norm(self, rows: Sequence[Vector], site: str, k: int, eps: Any) -> Vector:
        """ATN-LN of the last of the rows, Eqs. (7)-(9), with the gain and shift of a site; LN for k = 1."""
        window = [entry for row in rows[-k:] for entry in row]
        mean = self.let(sum(window) / sp.Integer(len(window)))
        variance = self.let(sum((entry - mean) ** 2 for entry in window) / sp.Integer(len(window)))
        gamma, beta = self.inputs[f"gamma_{site}"], self.inputs[f"beta_{site}"]
        root = sp.sqrt(variance + eps)
        return self.vector(g * (e - mean) / root + b for g, e, b in zip(gamma, rows[-1], beta, strict=True))

    def gradients(self, point: Mapping[str, Sequence[Any]]) -> dict[str, list[float]]:
        """Gradient of the loss in every input at a point of rational numbers.

        SymPy differentiates each equation; the chain rule multiplies the derivatives, backwards, in 30 digits.
        """

        def at(expression: Any) -> Any:
            return sp.N(expression.subs({symbol: values[symbol] for symbol in expression.free_symbols}), DIGITS)

        values = {
            symbol: sp.Float(value, DIGITS)
            for name, symbols in self.inputs.items()
            for symbol, value in zip(symbols, point[name], strict=True)
        }
        for symbol, expression in self.equations:
            values[symbol] = at(expression)
        slopes: dict[Any, Any] = dict.fromkeys(values, sp.S.Zero)
        slopes[self.equations[-1][0]] = sp.S.One
        for symbol, expression in reversed(self.equations):
            for variable in expression.free_symbols:
                slopes[variable] += slopes[symbol] * at(sp.diff(expression, variable))
        return {name: [float(slopes[symbol]) for symbol in symbols] for name, symbols in self.inputs.items()}


def sigmoid(z: Any) -> Any:
    """The logistic function."""
    return 1 / (1 + sp.exp(-z))


def small_rnn(T: int, H: int, k: int, eps: Any) -> Network:
    """Eqs. (3)-(4) with f = tanh for one input, one case, H units and H outputs; loss = sum of dh h + dy y."""
    affine = {f"{name}_{site}": H for site in ("ih", "hh", "y") for name in ("gamma", "beta")}
    sizes = {"weight_ih": H, "weight_hh": H * H, "weight_y": H * H, "bias_h": H, "bias_y": H, "x": T, "h_0": H}
    network = Network(**sizes, **affine, dh=T * H, dy=T * H)
    rows: dict[str, list[Vector]] = {"ih": [], "hh": [], "y": []}
    h, outputs = network.inputs["h_0"], []
    for t in range(T):
        rows["ih"].append(network.product("weight_ih", [network.inputs["x"][t]]))
        rows["hh"].append(network.product("weight_hh", h))
        from_input, from_state = (network.norm(rows[site], site, k, eps) for site in ("ih", "hh"))
        sums = zip(from_state, from_input, network.inputs["bias_h"], strict=True)
        h = network.vector(sp.tanh(a + b + c) for a, b, c in sums)
        rows["y"].append(network.product("weight_y", h))
        normalized = network.norm(rows["y"], "y", k, eps)
        y = network.vector(a + b for a, b in zip(normalized, network.inputs["bias_y"], strict=True))
        outputs += [*zip(network.inputs["dh"][t * H :], h, strict=False)]
        outputs += [*zip(network.inputs["dy"][t * H :], y, strict=False)]
    network.let(sum(slope * output for slope, output in outputs))
    return network


def small_lstm(T: int, k: int, eps: Any) -> Network:
    """Eqs. (14)-(16) for one input, one case and one unit, bias outside; loss = sum of dh h, plus dc_n c at the end.

    Rows of the gates in the order i, f, g, o; the paper's order is another (`gate_order` proves it does not matter).
    """
    affine = {"gamma_ih": 4, "beta_ih": 4, "gamma_hh": 4, "beta_hh": 4, "gamma_c": 1, "beta_c": 1}
    network = Network(weight_ih=4, weight_hh=4, bias=4, x=T, h_0=1, c_0=1, **affine, dh=T, dc_n=1)
    rows: dict[str, list[Vector]] = {"ih": [], "hh": [], "c": []}
    (h,), (c,), loss = network.inputs["h_0"], network.inputs["c_0"], sp.S.Zero
    for t in range(T):
        rows["ih"].append(network.product("weight_ih", [network.inputs["x"][t]]))
        rows["hh"].append(network.product("weight_hh", [h]))
        from_input, from_state = (network.norm(rows[site], site, k, eps) for site in ("ih", "hh"))
        sums = zip(from_state, from_input, network.inputs["bias"], strict=True)
        i, f, g, o = network.vector(a + b + d for a, b, d in sums)
        c = network.let(sigmoid(f) * c + sigmoid(i) * sp.tanh(g))
        rows["c"].append([c])
        (z,) = network.norm(rows["c"], "c", k, eps)
        h = network.let(sigmoid(o) * sp.tanh(z))
        loss += network.inputs["dh"][t] * h
    network.let(loss + network.inputs["dc_n"][0] * c)
    return network


def gate_order() -> tuple[Evidence, ...]:
    """Eq. (14) with its rows f, i, o, g reordered to i, f, g, o gives the same numbers in that order.

    ATN has one mean and one variance for all rows, which are sums over the rows in any order. Four rows, k = 2, with
    symbolic entries.
    """
    now, before = (list(sp.symbols(f"{name}:4")) for name in ("a", "earlier"))
    permuted = [[row[place] for place in (1, 0, 3, 2)] for row in (now, before)]

    def statistics(rows: Sequence[Vector]) -> tuple[Any, Any]:
        window = [entry for row in rows for entry in row]
        mean = sum(window) / sp.Integer(len(window))
        return mean, sum((entry - mean) ** 2 for entry in window) / sp.Integer(len(window))

    printed, reordered = statistics([now, before]), statistics(permuted)
    return (
        Identity("mean", sp.expand(printed[0] - reordered[0])),
        Identity("variance", sp.expand(printed[1] - reordered[1])),
    )


def cell_derivatives() -> tuple[Evidence, ...]:
    """Derivatives of Eqs. (15)-(16) in the gates, the carry and the normalized cell z, as backpropagation uses them."""
    i, f, g, o, carry, z = sp.symbols("i f g o c z", real=True)
    I, F, G, O, Z = sigmoid(i), sigmoid(f), sp.tanh(g), sigmoid(o), sp.tanh(z)
    c, h = F * carry + I * G, O * Z
    expected = (
        ("dc/di", c, i, I * (1 - I) * G),
        ("dc/df", c, f, F * (1 - F) * carry),
        ("dc/dg", c, g, I * (1 - G**2)),
        ("dc/dc'", c, carry, F),
        ("dh/do", h, o, O * (1 - O) * Z),
        ("dh/dz", h, z, O * (1 - Z**2)),
    )
    return tuple(
        Identity(name, sp.simplify(sp.diff(output, variable) - value)) for name, output, variable, value in expected
    )
