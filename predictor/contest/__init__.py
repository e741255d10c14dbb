"""The contest: our forecasts and what a user would pick instead, on the same support sets, scored alike and kept."""
