"""Architecture search: one file a strategy, one interface."""
