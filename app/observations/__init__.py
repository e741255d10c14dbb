"""Observations: append-only measured values of architectures."""
