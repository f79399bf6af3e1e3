"""What tests share: problems, runners, comparisons, tolerances."""
