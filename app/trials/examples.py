"""Examples of trials' documents, for OpenAPI."""

from __future__ import annotations

from app.observations.schemas import ARCHITECTURE_ID, CELL

TOKEN = "1.3q2-7wWnBc0yUe5mVtX8rL4sJkPzHf6A"
SUGGEST_EXAMPLE = {"worker_id": "gpu-3", "count": 1, "lease_seconds": 600, "constraints": ["params<=2000000"]}
REQUEST_EXAMPLE = {"architectures": [CELL]}
HEARTBEAT_EXAMPLE = {"lease_token": TOKEN, "observations": [{"value": 0.71, "fidelity": 5, "cost": 10.2}]}
COMPLETE_EXAMPLE = {
    "lease_token": TOKEN,
    "observations": [{"value": 0.71, "fidelity": 5, "cost": 10.2}, {"value": 0.951, "fidelity": 20, "cost": 41.5}],
}
FAIL_EXAMPLE = {"lease_token": TOKEN, "reason": "out of memory", "is_retryable": True}
INFEASIBLE_EXAMPLE = {"lease_token": TOKEN, "reason": "the device has no such operation"}
ABANDON_EXAMPLE = {"lease_token": TOKEN, "reason": "the machine is needed for something else"}

_EVENT = {
    "from_state": None, "to_state": "requested", "cause": "suggested by ucb", "worker_id": None,
    "created_at": "2026-11-22T09:40:00Z",
}  # fmt: skip
LEASED_EXAMPLE = {
    "id": 12,
    "task": "digits-accuracy",
    "architecture_id": ARCHITECTURE_ID,
    "genotype": CELL,
    "state": "leased",
    "worker_id": "gpu-3",
    "lease_number": 1,
    "lease_expires_at": "2026-11-22T09:50:00Z",
    "num_expiries": 0,
    "num_failures": 0,
    "fidelity": None,
    "forecast": {"mean": 0.962, "std": 0.008, "model_version": "0f1e2d3c4b5a69788796a5b4c3d2e1f0"},
    "reason": "handed out",
    "observation_ids": [],
    "created_at": "2026-11-22T09:40:00Z",
    "changed_at": "2026-11-22T09:40:00Z",
}
SUGGESTED_EXAMPLE = {
    "task": "digits-accuracy",
    "worker_id": "gpu-3",
    "seed": 7,
    "trials": [{**LEASED_EXAMPLE, "lease_token": TOKEN, "lease_seconds": 600.0, "source": "new"}],
}
COMPLETED_EXAMPLE = {
    **LEASED_EXAMPLE, "state": "completed", "lease_expires_at": None, "reason": "completed", "observation_ids": [41, 42],
    "changed_at": "2026-11-22T09:44:00Z",
}  # fmt: skip
HISTORY_EXAMPLE = {
    **COMPLETED_EXAMPLE,
    "history": [
        _EVENT,
        {**_EVENT, "from_state": "requested", "to_state": "leased", "cause": "handed out", "worker_id": "gpu-3"},
        {
            "from_state": "leased", "to_state": "completed", "cause": "completed", "worker_id": "gpu-3",
            "created_at": "2026-11-22T09:44:00Z",
        },
    ],
}  # fmt: skip
FAILED_EXAMPLE = {
    **COMPLETED_EXAMPLE, "state": "requested", "num_failures": 1, "reason": "failed in try 1 of 3: out of memory", "observation_ids": [],
}  # fmt: skip
INFEASIBLE_REPLY_EXAMPLE = {
    **COMPLETED_EXAMPLE,
    "state": "infeasible",
    "reason": "infeasible: the device has no such operation",
}
ABANDONED_EXAMPLE = {
    **FAILED_EXAMPLE, "state": "abandoned", "num_failures": 0, "reason": "given back: the machine is needed for something else",
}  # fmt: skip
REQUESTED_EXAMPLE = {
    "task": "digits-accuracy",
    "trials": [{"trial_id": 13, "architecture_id": ARCHITECTURE_ID, "state": "requested", "is_new": True}],
}
ADVICE_EXAMPLE = {
    "trial_id": 12,
    "advice": "stop",
    "because": "the probability to become better than 0.955 is 0.021, less than 0.05",
    "forecast": {"mean": 0.938, "std": 0.0084},
    "probability": 0.021,
    "threshold": 0.05,
    "best_measured": 0.955,
    "method": "learning_curves",
    "fidelity": 5.0,
    "num_curves": 14,
    "intermediate": [{"fidelity": 5.0, "value": 0.71}],
}
