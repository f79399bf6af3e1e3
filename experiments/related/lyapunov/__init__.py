"""Lyapunov spectra of the LSTM, LN-LSTM and ATN-LSTM (Vogt, Puelma Touzel, Shlizerman, Lajoie 2022)."""
