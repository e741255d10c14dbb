"""The surrogate: a graph encoder with a head for mean and spread."""
