"""Meta-learning: episodes, the inner loop that adapts to one task, the outer loop that learns where adaptation starts."""
