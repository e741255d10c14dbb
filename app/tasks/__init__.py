"""Tasks: search space × data set × metric (× device)."""
