"""Tests of the RNN and the GRU, and of the output of the paper's network."""
