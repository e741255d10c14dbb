"""Search spaces: the built-in ones, and those that users declare."""
