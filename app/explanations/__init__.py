"""Explanations: which operations and edges a forecast hangs on."""
