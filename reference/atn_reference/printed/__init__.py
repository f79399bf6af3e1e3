"""What the paper prints, exactly as printed, and the explicit Jacobian to hold it against."""
