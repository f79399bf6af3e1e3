"""Assorted-time normalization as a module: gain and shift, and for the batch the population statistics."""

from typing import ClassVar, cast, get_args, overload

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from atn.backend.registry import backend_for, check_backend
from atn.carried import Carried, run_pieces
from atn.choices import Base
from atn.fixed_settings import FixedSettings
from atn.initialization import start_anew
from atn.layers.initial_state import Chunk, check_chunk, check_origin, check_reset
from atn.population import PopulationStatistics, check_no_momentum, checked_population, population_steps
from atn.precision import full_precision, in_one_dtype, state_dtype
from atn.state import NormMemory, NormOrigin
from atn.validation import (
    LARGEST,
    check_choice,
    check_dtype,
    check_epsilon_in,
    check_flag,
    check_floating,
    check_kind,
    check_lengths,
    check_matches,
    check_parameter,
    check_shape,
    check_steps,
    epsilon,
    probability,
    whole_number,
)
from atn.window import StepStatistics, normalize, steps_of, window_statistics


class AssortedTimeNorm(FixedSettings):
    """Normalize each step of a sequence by the statistics of the last k steps, Eqs. (7)-(9).

    `norm(a)` takes a whole sequence (T, B, N); `norm.stream(a, memory)` takes it in chunks. The equation, the treatment
    of dtypes, of overflow and of eps = 0, and the errors for `k`, `eps`, `base` and `a` are those of
    `atn.functional.assorted_time_norm`.

    With `base="layer"` (ATN-LN) training and evaluation are the same. With `base="batch"` (ATN-BN) the statistics are
    those of the batch while training; evaluation uses population statistics, kept for each of the first `max_steps`
    time steps as Recurrent Batch Normalization (Cooijmans et al. 2017) does: running averages of the window's mean and
    biased variance, started by the first batch that reaches the step. Evaluation beyond `max_steps`, or beyond the last
    step that a batch has reached, uses the last one's, and before the first step that one has reached the first one's;
    before any training, mean 0 and variance 1. A batch of one case
    with k = 1 is refused in training, as by `torch.nn.BatchNorm1d`: the variance of one value is 0. With k > 1 the
    first step of such a batch is one value too, and gives the shift.

    The statistics lie in the submodule `population`, a `torch.nn.BatchNorm1d` by class: `state_dict`, `train` and
    `eval`, `torch.func.functional_call`, `torch.optim.swa_utils.AveragedModel` and `update_bn`, and a loop that freezes
    every batch norm of a model treat it as they treat that. So does `DistributedDataParallel`: each process normalizes
    and averages by its own share of the batch, nothing is synchronized, and before each forward pass the process of
    rank 0 sends its statistics to the others, unless `broadcast_buffers=False`.
    `torch.nn.SyncBatchNorm.convert_sync_batchnorm` does not know time steps: a module that it converted is refused.
    Transforms of `torch.func` and forward mode cannot follow an update in place: in training they are refused, unless
    `population.track_running_stats` is set to False.

    Parameters
    ----------
    num_features
        N.
    k
        Length of the window, at least 1; 1 is layer or batch normalization.
    base
        "layer" or "batch".
    eps
        Added to the variance under the root, at least 0.
    affine
        Whether to have a gain (`weight`, ones at first) and a shift (`bias`, zeros at first), (N,) each. ATN adds no
        trainable parameter to them.
    max_steps
        Number of time steps with population statistics of their own, such as the length of the longest training
        sequence. Needed for `base="batch"`, refused for "layer".
    momentum
        Weight of a new batch in the population statistics, in [0, 1]; None for the plain average over all batches.
        Left out for `base="layer"`.
    backend
        "auto", or a name of `atn.backends`.
    device, dtype
        Of the parameters and buffers.

    Attributes
    ----------
    population
        `running_mean` and `running_var` (max_steps, N) and `num_batches_tracked` (max_steps,); None for `base="layer"`.

    Raises
    ------
    TypeError
        A number or a dtype that is not of the right kind.
    ValueError
        A number out of range, such as an eps too large or too small for the dtype computed in; an unknown choice;
        `max_steps` missing or refused, or `momentum` refused; a backend that cannot run.
    """

    _fixed: ClassVar[frozenset[str]] = frozenset(("num_features", "k", "base", "eps", "affine"))

    population: PopulationStatistics | None

    def __init__(
        self,
        num_features: int,
        k: int,
        *,
        base: Base = "layer",
        eps: float = 1e-5,
        affine: bool = True,
        max_steps: int | None = None,
        momentum: float | None = 0.1,
        backend: str = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.num_features = whole_number("num_features", num_features)
        self.k = whole_number("k", k)
        self.eps = epsilon(eps)
        check_choice("base", base, get_args(Base))
        check_flag("affine", affine)
        check_dtype(dtype)
        check_epsilon_in(self.eps, dtype)
        check_backend(backend)
        self.base: Base = base
        self.affine = affine
        self.backend = backend
        if affine:
            self.weight = nn.Parameter(torch.empty(num_features, device=device, dtype=dtype))
            self.bias = nn.Parameter(torch.empty(num_features, device=device, dtype=dtype))
        else:
            self.register_parameter("weight", None)
            self.register_parameter("bias", None)
        steps = population_steps(base, max_steps, f"base={base!r}")
        momentum = momentum if momentum is None else probability("momentum", momentum)
        check_no_momentum(base, momentum)
        self.population = (
            None if steps is None else PopulationStatistics(num_features, steps, momentum, device=device, dtype=dtype)
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the gain to 1 and the shift to 0, and forget the population statistics.

        What stands behind a parametrization, pruning, weight or spectral normalization is started anew, too.
        """
        if self.affine:
            start_anew(self, "weight", nn.init.ones_)
            start_anew(self, "bias", nn.init.zeros_)
        if self.population is not None:
            self.population.reset_running_stats()

    @overload
    def forward(self, a: Float[Tensor, "T B N"]) -> Float[Tensor, "T B N"]: ...
    @overload
    def forward(self, a: Float[Tensor, "T B N"], chunk: Chunk) -> tuple[Float[Tensor, "T B N"], NormMemory]: ...
    def forward(
        self, a: Float[Tensor, "T B N"], chunk: Chunk | None = None
    ) -> Float[Tensor, "T B N"] | tuple[Float[Tensor, "T B N"], NormMemory]:
        """Normalize a whole sequence.

        Parameters
        ----------
        a
            The sequence (T, B, N), T >= 1, in the dtype of the parameters outside autocast.
        chunk
            None. `stream` passes its memory and restarts this way, so that hooks run.

        Returns
        -------
        y
            (T, B, N), in the dtype of `a`.

        Raises
        ------
        TypeError
            `a` is no floating-point tensor, or has another dtype than the parameters.
        ValueError
            Another shape or device, an empty axis, or an eps that the dtype does not have; with `base="batch"`, one
            case with k = 1 in training, training inside a transform of `torch.func` or forward mode, or a module that
            `convert_sync_batchnorm` changed.
        """
        check_chunk(chunk, NormMemory.__name__)
        return self._next(a, None, None)[0] if chunk is None else self._next(a, chunk.state, chunk.reset)

    def stream(
        self,
        a: Float[Tensor, "T B N"],
        memory: NormMemory | None = None,
        reset: Bool[Tensor, "T B"] | None = None,
    ) -> tuple[Float[Tensor, "T B N"], NormMemory]:
        """Normalize the next T >= 1 steps of a sequence.

        Chunks in sequence equal the whole: bit for bit on the CPU, up to the order of additions inside a step on other
        devices. The gradient flows through the memory until it is detached. Hooks of the module run as for `forward`,
        which this calls.

        Parameters
        ----------
        a
            The next steps (T, B, N).
        memory
            What the call before returned; None at the start. For `base="layer"`, `memory.reset` empties the windows of
            single cases, and `memory.select` picks and reorders cases.
        reset
            True where a case's window is emptied before that step: `base="layer"` alone, whose windows belong to cases.
            The chunk is cut at every step with a restart, and each piece runs once for every length of window that its
            cases have. None empties none.

        Returns
        -------
        y, memory
            Normalized steps, in the dtype of `a`, and what the next call needs.

        Raises
        ------
        TypeError, ValueError
            As `atn.functional.assorted_time_norm`, and for a memory that does not fit `a` or this module; with
            `base="batch"`, for one case with k = 1 in training, for training inside a transform of `torch.func` or
            forward mode, or after `convert_sync_batchnorm`.
        """
        return cast("tuple[Tensor, NormMemory]", self(a, Chunk(memory, reset)))

    def _next(
        self, a: Float[Tensor, "T B N"], memory: NormMemory | None, reset: Bool[Tensor, "T B"] | None
    ) -> tuple[Float[Tensor, "T B N"], NormMemory]:
        check_floating("a", a)
        check_steps("a", a, "(T, B, N)", self.num_features)
        # Each is read once: a parametrization may compute it anew each time.
        gamma, beta = self.weight, self.bias
        if self.affine:
            check_parameter("weight", gamma, (self.num_features,), "(num_features,)")
            check_parameter("bias", beta, (self.num_features,), "(num_features,)")
            check_matches("a", a, "weight", gamma)
            check_matches("bias", beta, "weight", gamma)
        population = (
            checked_population("population", self.population, "a", a, self.k, "base='batch'")
            if self.base == "batch"
            else None
        )
        check_epsilon_in(self.eps, a.dtype)  # again: the module may have been cast
        backend = backend_for(self.backend, a.device)
        by_population = population is not None and not population.training
        values, weight, bias = in_one_dtype(a, gamma, beta, half=backend.half and not by_population)
        with full_precision(a.device):
            columns = a.shape[1] if self.base == "layer" else a.shape[2]
            none = StepStatistics.none(columns, values, state_dtype(values.dtype))
            memory = NormMemory(none, 0, None, self._origin) if memory is None else memory
            self._check_memory(memory, columns, none.mean, a.shape[0])
            start, end = memory.position, memory.position + a.shape[0]

            def run(values: Tensor, carried: Carried) -> tuple[Tensor, Carried]:
                ((before,),) = carried.memory
                if population is not None and by_population:
                    y = normalize(values, population.at(start, end, values.dtype), weight, bias, self.eps, self.base)
                    steps = before.followed_by(steps_of(values, self.base))
                else:
                    y, steps = backend.norm(values, weight, bias, before, self.k, self.eps, self.base)
                if population is not None and population.training and population.track_running_stats:
                    population.update(start, window_statistics(steps, self.k).last(values.shape[0]))
                return y, Carried((), ((steps.last(self.k - 1),),), None)

            restarts = self._checked_reset(reset, a)
            y, carried = run_pieces(run, values, Carried((), ((memory.steps,),), memory.lengths), restarts)
        ((steps,),) = carried.memory
        # The window is the last rows of what was computed: a copy holds no more than it shows.
        steps = StepStatistics(steps.mean.clone(), steps.var.clone())
        return y.to(a.dtype), NormMemory(steps, end, carried.lengths, memory.origin)

    def extra_repr(self) -> str:
        """Settings that differ between modules."""
        return f"{self.num_features}, k={self.k}, base={self.base!r}, eps={self.eps}, affine={self.affine}"

    @property
    def _origin(self) -> NormOrigin:
        """What a memory says about the module that made it."""
        return NormOrigin(self.base, self.k, self.num_features)

    def _check_memory(self, memory: object, columns: int, values: Tensor, T: int) -> None:
        if not isinstance(memory, NormMemory):
            raise TypeError(f"memory must be the NormMemory of the call before, got {type(memory).__name__}")
        check_origin(memory.origin, self._origin, "memory")
        check_kind("memory.steps", memory.steps, StepStatistics)
        for name, statistic in zip(("memory.steps.mean", "memory.steps.var"), memory.steps, strict=True):
            check_floating(name, statistic)
        must = "memory.position must be an integer of at least 0"
        if isinstance(memory.position, bool) or not isinstance(memory.position, int):
            raise TypeError(f"{must}, got {memory.position!r}")
        if not 0 <= memory.position <= LARGEST - 1 - T:
            raise ValueError(f"{must} that leaves room for T = {T} steps below 2**63, got {memory.position!r}")
        held = memory.steps.mean.shape[0] if memory.steps.mean.ndim else 0
        rows = held if self.base == "layer" else min(self.k - 1, memory.position)
        if rows > self.k - 1:
            raise ValueError(f"memory.steps must hold at most k-1 = {self.k - 1} steps, got {rows}")
        letters = "(M, B)" if self.base == "layer" else "(min(k-1, position), N)"
        for name, statistic in zip(("memory.steps.mean", "memory.steps.var"), memory.steps, strict=True):
            check_shape(name, statistic, (rows, columns), letters)
            check_matches(name, statistic, "the computation", values)
        if self.base != "layer" and memory.lengths is not None:
            raise ValueError(f"memory.lengths must be None for base={self.base!r}, got {memory.lengths!r}")
        check_lengths("memory.lengths", memory.lengths, columns, rows)

    def _checked_reset(self, reset: object, a: Float[Tensor, "T B N"]) -> Bool[Tensor, "T B"] | None:
        if reset is not None and self.base != "layer":
            raise ValueError(
                f"reset must be left out for base={self.base!r}, whose windows are of the whole batch, "
                f"got {type(reset).__name__}"
            )
        return check_reset(reset, a.shape[0], a.shape[1], batched=True, batch_first=False)
