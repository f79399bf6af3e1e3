"""``python -m experiments``: train, sweep, report."""
