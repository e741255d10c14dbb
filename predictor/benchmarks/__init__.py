"""Published tables of evaluated architectures, read as tasks. Offline only: nothing here downloads anything."""
