"""The experiments: data, training, resuming, records, report."""
