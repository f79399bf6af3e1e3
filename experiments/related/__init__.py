"""Studies of systems beside the paper, a folder for each: their settings, models and problems."""
