"""The report: the paper's tables and figures beside ours, from records alone."""
