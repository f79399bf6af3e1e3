"""The named choices among the library's arguments, each declared once."""

from typing import Literal

Norm = Literal["atn", "ln", "bn", "ada", "prop", "wn", "none"]
"""Assorted-time normalization; layer normalization, which is that with k = 1; recurrent batch normalization; AdaNorm;
Normalization Propagation; weight normalization; or a plain cell."""

Base = Literal["layer", "batch"]
"""What a window takes the mean over beside time: the features of a case ("layer"), or the batch ("batch")."""

BiasPlacement = Literal["outside", "inside"]
"""Where the biases stand: after the norms, Eq. (14), or in front of them (what section 5.1 says the experiments
ran)."""

Init = Literal["torch", "paper", "orthogonal"]
"""How the parameters start: as `torch.nn.LSTM` draws them, as the paper's released code sets them, or an orthogonal
block for each gate."""

Variance = Literal["literal", "independent"]
"""How Norm-Prop's constants follow from the gains: NP (9)-(10), or NP (22)-(23)."""

Nonlinearity = Literal["tanh", "relu"]
"""What a simple recurrent network takes of its preactivation."""

Statistic = Literal["mean", "var"]
"""The two statistics of a window."""
