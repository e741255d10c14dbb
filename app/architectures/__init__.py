"""Architectures: everything that is known about one of them."""
