"""The oracle: Assorted-Time Normalization written to be read beside the paper, in NumPy alone.

Reading order, one concept a file. ``arrays`` has the types that every file shares. Then, in ``norms/``:

1. ``window``             the window and its statistics, Eqs. (7)-(8)
2. ``gain_shift``         gamma and beta
3. ``settings``           how a caller names a norm, its gain and shift, and where the bias stands
4. ``norm_step``          one step of ATN, Eq. (9), with attached or detached statistics
5. ``assorted_time_norm`` a whole sequence of it
6. ``population_norm``    evaluation of BN and ATN-BN
7. ``layer_norm``, ``batch_norm``  LN and BN on their own, Eqs. (5)-(6)
8. ``ada_norm``           AdaNorm
9. ``weight_norm``        WN
10. ``unit_rows``         weights whose rows have length 1
11. ``norm_prop``         the constants of Norm-Prop
12. ``channel_norm``      channel normalization of one example

in ``printed/``:

1. ``jacobian``           the explicit Jacobian of ATN
2. ``proposition1``       Eqs. (11)-(13) and (A.1)-(A.3) as printed
3. ``projection``         a gradient under channel normalization, and its released formula

and in ``networks/``:

1. ``site``               a normalizer inside a recurrence
2. ``recurrence``         what the networks share
3. ``gates``              Eq. (15) and the product of Eq. (16)
4. ``lstm``               Eqs. (14)-(16)
5. ``rnn``                Eqs. (1)-(4)
6. ``gru``                the GRU of torch.nn with the same norms
7. ``weight_norm_lstm``   the LSTM with WN
8. ``norm_prop_lstm``     the LSTM with Norm-Prop
9. ``stack``              layers and directions
10. ``losses``            cross-entropy and squared error
11. ``circulant``         the convolutional network of one example
12. ``per_step_readout``  classes from all hidden states of a sequence

and last ``lyapunov``, the rates at which a change of the state of any of these grows.

``site``, ``recurrence``, ``validation`` (the checks of arguments) and ``copies`` serve the others and are not part of
the interface.

Every ``*_forward`` returns its output and a cache; every ``*_backward`` takes the gradients of the outputs and that
cache and returns the gradient of every input. Functions over whole sequences check their arguments, never write into
them, and return arrays that share no memory with them or with the cache; the ``*_step_*``, gain and gate functions,
which those call at every step, promise neither. Arrays are float64, float32, longdouble or complex and keep their
dtype; a complex array carries a complex-step derivative.
"""

from atn_reference.arrays import Array, Base, NormGradients
from atn_reference.lyapunov import (
    COMPLEX_STEP,
    LayerRun,
    LayerState,
    lstm_log_determinant,
    lyapunov_exponents,
    positive_qr,
    state_coordinates,
    state_from_vector,
    state_vector,
    step_jacobians,
)
from atn_reference.networks.circulant import (
    CirculantCache,
    CirculantLayer,
    CirculantLayerCache,
    CirculantParameters,
    circulant_network_backward,
    circulant_network_forward,
    circular_convolution_backward,
    circular_convolution_forward,
)
from atn_reference.networks.gates import (
    CellOutputCache,
    GatesCache,
    cell_output_backward,
    cell_output_forward,
    lstm_gates_backward,
    lstm_gates_forward,
    sigmoid,
)
from atn_reference.networks.gru import (
    GRUCache,
    GRUGatesCache,
    GRUGradients,
    GRUMemory,
    GRUNorm,
    GRUOutput,
    GRUParameters,
    GRUPopulationNorm,
    GRUSites,
    GRUState,
    GRUStatistics,
    gru_backward,
    gru_forward,
    gru_gates_backward,
    gru_gates_forward,
    gru_statistics,
)
from atn_reference.networks.losses import (
    CrossEntropyCache,
    SquaredErrorCache,
    softmax_cross_entropy_backward,
    softmax_cross_entropy_forward,
    squared_error_backward,
    squared_error_forward,
)
from atn_reference.networks.lstm import (
    LSTMCache,
    LSTMGradients,
    LSTMMemory,
    LSTMOutput,
    LSTMParameters,
    LSTMSites,
    LSTMState,
    LSTMStatistics,
    LSTMStepCache,
    Norm,
    PopulationNorm,
    lstm_backward,
    lstm_forward,
    lstm_statistics,
)
from atn_reference.networks.norm_prop_lstm import (
    NormPropLSTMCache,
    NormPropLSTMGradients,
    NormPropLSTMParameters,
    norm_prop_lstm_backward,
    norm_prop_lstm_forward,
)
from atn_reference.networks.per_step_readout import (
    PerStepCache,
    PerStepGradients,
    PerStepOutput,
    per_step_readout_backward,
    per_step_readout_forward,
)
from atn_reference.networks.rnn import (
    RNNCache,
    RNNGradients,
    RNNMemory,
    RNNNorm,
    RNNOutput,
    RNNParameters,
    RNNPopulationNorm,
    RNNSites,
    RNNState,
    RNNStatistics,
    rnn_backward,
    rnn_forward,
    rnn_statistics,
)
from atn_reference.networks.stack import StackCache, StackGradients, stacked_lstm_backward, stacked_lstm_forward
from atn_reference.networks.weight_norm_lstm import (
    WeightNormLSTMCache,
    WeightNormLSTMGradients,
    WeightNormLSTMParameters,
    weight_norm_lstm_backward,
    weight_norm_lstm_forward,
    weight_norm_lstm_parameters,
)
from atn_reference.norms.ada_norm import (
    AdaNormCache,
    AdaNormStepCache,
    ada_norm_backward,
    ada_norm_forward,
    ada_norm_step_backward,
    ada_norm_step_forward,
    checked_ada_norm,
)
from atn_reference.norms.assorted_time_norm import (
    AssortedTimeNormCache,
    assorted_time_norm_backward,
    assorted_time_norm_forward,
    sum_over_steps,
)
from atn_reference.norms.batch_norm import BatchNormCache, batch_norm_backward, batch_norm_forward
from atn_reference.norms.channel_norm import (
    ChannelNormCache,
    ChannelNormGradients,
    channel_norm_backward,
    channel_norm_forward,
)
from atn_reference.norms.gain_shift import GainShiftCache, GainShiftGradients, gain_shift_backward, gain_shift_forward
from atn_reference.norms.layer_norm import LayerNormCache, layer_norm_backward, layer_norm_forward
from atn_reference.norms.norm_prop import (
    VARIANCE_FORMULAS,
    NormProp,
    VarianceFormula,
    cell_variance,
    hidden_variance,
    norm_prop,
    preactivation_deviation,
    sigmoid_second_moment,
    tanh_second_moment,
)
from atn_reference.norms.norm_step import NormStepCache, NormStepGradients, norm_step_backward, norm_step_forward
from atn_reference.norms.population_norm import (
    PopulationNormCache,
    PopulationStatistics,
    PopulationStepCache,
    population_norm_backward,
    population_norm_forward,
    population_step_backward,
    population_step_forward,
    update_population,
)
from atn_reference.norms.settings import (
    BIAS_PLACEMENTS,
    STATISTICS,
    AdaNorm,
    Affine,
    BiasPlacement,
    Statistic,
    WindowNorm,
)
from atn_reference.norms.unit_rows import orthogonal_unit_rows, row_lengths, unit_rows
from atn_reference.norms.weight_norm import WeightNormCache, weight_norm_backward, weight_norm_forward
from atn_reference.norms.window import (
    BASES,
    WindowCache,
    WindowStatistics,
    WindowStepCache,
    join_memory,
    next_memory,
    window_sizes,
    window_slice,
    window_statistics_backward,
    window_statistics_forward,
    window_step_backward,
    window_step_forward,
)
from atn_reference.printed.jacobian import atn_jacobian
from atn_reference.printed.projection import projected_gradient, released_gradient
from atn_reference.printed.proposition1 import (
    HALF,
    Number,
    Window,
    independent_table,
    mean_derivative,
    output_derivative,
    output_derivative_a12,
    variance_derivative_a3,
    variance_derivative_eq13,
    window_count,
    window_mean,
    window_variance,
)

__all__ = [
    "BASES",
    "BIAS_PLACEMENTS",
    "COMPLEX_STEP",
    "HALF",
    "STATISTICS",
    "VARIANCE_FORMULAS",
    "AdaNorm",
    "AdaNormCache",
    "AdaNormStepCache",
    "Affine",
    "Array",
    "AssortedTimeNormCache",
    "Base",
    "BatchNormCache",
    "BiasPlacement",
    "CellOutputCache",
    "ChannelNormCache",
    "ChannelNormGradients",
    "CirculantCache",
    "CirculantLayer",
    "CirculantLayerCache",
    "CirculantParameters",
    "CrossEntropyCache",
    "GRUCache",
    "GRUGatesCache",
    "GRUGradients",
    "GRUMemory",
    "GRUNorm",
    "GRUOutput",
    "GRUParameters",
    "GRUPopulationNorm",
    "GRUSites",
    "GRUState",
    "GRUStatistics",
    "GainShiftCache",
    "GainShiftGradients",
    "GatesCache",
    "LSTMCache",
    "LSTMGradients",
    "LSTMMemory",
    "LSTMOutput",
    "LSTMParameters",
    "LSTMSites",
    "LSTMState",
    "LSTMStatistics",
    "LSTMStepCache",
    "LayerNormCache",
    "LayerRun",
    "LayerState",
    "Norm",
    "NormGradients",
    "NormProp",
    "NormPropLSTMCache",
    "NormPropLSTMGradients",
    "NormPropLSTMParameters",
    "NormStepCache",
    "NormStepGradients",
    "Number",
    "PerStepCache",
    "PerStepGradients",
    "PerStepOutput",
    "PopulationNorm",
    "PopulationNormCache",
    "PopulationStatistics",
    "PopulationStepCache",
    "RNNCache",
    "RNNGradients",
    "RNNMemory",
    "RNNNorm",
    "RNNOutput",
    "RNNParameters",
    "RNNPopulationNorm",
    "RNNSites",
    "RNNState",
    "RNNStatistics",
    "SquaredErrorCache",
    "StackCache",
    "StackGradients",
    "Statistic",
    "VarianceFormula",
    "WeightNormCache",
    "WeightNormLSTMCache",
    "WeightNormLSTMGradients",
    "WeightNormLSTMParameters",
    "Window",
    "WindowCache",
    "WindowNorm",
    "WindowStatistics",
    "WindowStepCache",
    "ada_norm_backward",
    "ada_norm_forward",
    "ada_norm_step_backward",
    "ada_norm_step_forward",
    "assorted_time_norm_backward",
    "assorted_time_norm_forward",
    "atn_jacobian",
    "batch_norm_backward",
    "batch_norm_forward",
    "cell_output_backward",
    "cell_output_forward",
    "cell_variance",
    "channel_norm_backward",
    "channel_norm_forward",
    "checked_ada_norm",
    "circulant_network_backward",
    "circulant_network_forward",
    "circular_convolution_backward",
    "circular_convolution_forward",
    "gain_shift_backward",
    "gain_shift_forward",
    "gru_backward",
    "gru_forward",
    "gru_gates_backward",
    "gru_gates_forward",
    "gru_statistics",
    "hidden_variance",
    "independent_table",
    "join_memory",
    "layer_norm_backward",
    "layer_norm_forward",
    "lstm_backward",
    "lstm_forward",
    "lstm_gates_backward",
    "lstm_gates_forward",
    "lstm_log_determinant",
    "lstm_statistics",
    "lyapunov_exponents",
    "mean_derivative",
    "next_memory",
    "norm_prop",
    "norm_prop_lstm_backward",
    "norm_prop_lstm_forward",
    "norm_step_backward",
    "norm_step_forward",
    "orthogonal_unit_rows",
    "output_derivative",
    "output_derivative_a12",
    "per_step_readout_backward",
    "per_step_readout_forward",
    "population_norm_backward",
    "population_norm_forward",
    "population_step_backward",
    "population_step_forward",
    "positive_qr",
    "preactivation_deviation",
    "projected_gradient",
    "released_gradient",
    "rnn_backward",
    "rnn_forward",
    "rnn_statistics",
    "row_lengths",
    "sigmoid",
    "sigmoid_second_moment",
    "softmax_cross_entropy_backward",
    "softmax_cross_entropy_forward",
    "squared_error_backward",
    "squared_error_forward",
    "stacked_lstm_backward",
    "stacked_lstm_forward",
    "state_coordinates",
    "state_from_vector",
    "state_vector",
    "step_jacobians",
    "sum_over_steps",
    "tanh_second_moment",
    "unit_rows",
    "update_population",
    "variance_derivative_a3",
    "variance_derivative_eq13",
    "weight_norm_backward",
    "weight_norm_forward",
    "weight_norm_lstm_backward",
    "weight_norm_lstm_forward",
    "weight_norm_lstm_parameters",
    "window_count",
    "window_mean",
    "window_sizes",
    "window_slice",
    "window_statistics_backward",
    "window_statistics_forward",
    "window_step_backward",
    "window_step_forward",
    "window_variance",
]
