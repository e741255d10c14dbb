"""Numbers of whole graphs that mean the same in every search space."""
