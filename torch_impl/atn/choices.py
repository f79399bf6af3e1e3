"""The named choices among the library's arguments, each declared once."""

from typing import Literal

Norm = Literal["atn", "ln", "none"]
"""Assorted-time normalization on layer normalization, layer normalization (k = 1), or a plain LSTM."""

Base = Literal["layer", "batch"]
"""What a window takes the mean over beside time: the features of a case ("layer"), or the batch ("batch")."""

BiasPlacement = Literal["outside", "inside"]
"""Where the biases stand: after the norms (Eq. 14), or in front of them (what section 5.1 says the experiments ran)."""

Init = Literal["torch", "paper"]
"""How the parameters start: as `torch.nn.LSTM` draws them, or as the paper's released code sets them."""
