"""NeuroView-RNN, classes of sequences from all hidden states (Barberan et al. 2022)."""
