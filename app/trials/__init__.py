"""Trials: architectures handed to workers to measure, each under a lease.

states       which states there are, and which lead where
tokens       what proves that a lease is the caller's
leases       every change of a trial, within the caller's transaction
recording    what was measured becomes observations
service      what workers report, and what is shown
suggesting   who gets which architecture
advice       whether to go on measuring
sweeper      expired leases, in the background
"""
