"""Channel normalization of one example (Dai and Heckel 2019)."""
