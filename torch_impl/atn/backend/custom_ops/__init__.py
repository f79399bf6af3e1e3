"""What backends with a hand-written backward pass register with torch: signatures, shapes and gradients."""
