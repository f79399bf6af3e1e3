"""The normalizers of a whole sequence, and what they are made of."""
