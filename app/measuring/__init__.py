"""`archcast measure`: a worker that leases trials, evaluates their architectures for real, and tells the service.

slots      the worker's folder: its name, which outlives the process, and the state of trainings
choices    what the command line says, as an evaluator's document
reporting  intermediate results and advice while an evaluation runs
webhook    asking a user's own service over HTTP
worker     the loop: lease, evaluate, tell
"""
