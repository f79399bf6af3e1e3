"""The torch operators of backends with a hand-written backward pass: their signatures, shapes and gradients."""
