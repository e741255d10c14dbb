"""Archcast in the terms of other tools: an Optuna sampler and a Ray Tune searcher, each in a module of its own that needs its
optional extra. They are clients of a service, and know nothing of its insides."""
