"""Examples of the documents of searches."""

from __future__ import annotations

from typing import Any

from app.candidates.schemas import CELL

_ID = "9b2f5c1d7e8a4b3c9d0e1f2a3b4c5d6e"
REQUEST_EXAMPLE: dict[str, Any] = {
    "objectives": [{"task": "digits-accuracy"}],
    "strategy": "random",
    "mode": "forecast",
    "budget": {"evaluations": 200},
    "seed": 7,
}
GUIDED_REQUEST_EXAMPLE: dict[str, Any] = {
    "objectives": [{"task": "digits-accuracy"}],
    "strategy": "random",
    "mode": "guided",
    "budget": {"evaluations": 40, "seconds": 86400.0},
    "constraints": ["params<=500000"],
    "parallel": 4,
}
SUPERNET_REQUEST_EXAMPLE: dict[str, Any] = {
    "objectives": [{"task": "digits-accuracy"}],
    "strategy": "darts",
    "settings": {
        "dataset": "digits",
        "epochs": 20,
        "order": "second",
        "stack": {"stem_channels": 8, "partial_channels": 4},
        "normalises_edges": True,
        "warmup_epochs": 6,
        "retraining": {"epochs": 9},
    },
    "budget": {"seconds": 86400.0},
    "seed": 7,
}
OBJECTIVE_EXAMPLE = {
    "task": "digits-accuracy", "metric": "accuracy", "unit": "fraction", "direction": "maximize",
}  # fmt: skip
EVALUATION_EXAMPLE: dict[str, Any] = {
    "id": 311,
    "number": 12,
    "architecture_id": _ID,
    "genotype": CELL,
    "origin": "random",
    "state": "done",
    "source": "forecast",
    "values": [0.962],
    "value": 0.962,
    "asked_fidelity": 1.0,
    "fidelity": 1.0,
    "violation": 0.0,
    "is_improvement": True,
    "reason": None,
    "created_at": "2026-11-29T11:20:04Z",
    "ended_at": "2026-11-29T11:20:04Z",
}
SEARCH_EXAMPLE: dict[str, Any] = {
    "id": 17,
    "state": "running",
    "percent": 6.0,
    "stage": "evaluating, 12 done",
    "search_space": "nasbench201",
    "objectives": [OBJECTIVE_EXAMPLE],
    "strategy": "random",
    "settings": {},
    "mode": "forecast",
    "evaluator": "forecast",
    "budget": {"evaluations": 200, "seconds": None},
    "constraints": [],
    "start": [],
    "parallel": 32,
    "seed": 7,
    "description": "",
    "num_proposed": 12,
    "num_evaluated": 12,
    "num_failed": 0,
    "seconds": 0.4,
    "best": EVALUATION_EXAMPLE,
    "history": [
        {
            "number": 12,
            "architecture_id": _ID,
            "values": [0.962],
            "num_evaluated": 12,
            "at": "2026-11-29T11:20:04Z",
        }
    ],
    "ending": None,
    "error": None,
    "created_by": "key:3",
    "created_at": "2026-11-29T11:20:03Z",
    "started_at": "2026-11-29T11:20:03Z",
    "finished_at": None,
}
CREATED_EXAMPLE: dict[str, Any] = {
    **SEARCH_EXAMPLE,
    "state": "queued",
    "percent": 0.0,
    "stage": "",
    "num_proposed": 0,
    "num_evaluated": 0,
    "seconds": 0.0,
    "best": None,
    "history": [],
    "started_at": None,
}
SUMMARY_EXAMPLE: dict[str, Any] = {
    "id": 17,
    "state": "running",
    "percent": 6.0,
    "stage": "evaluating, 12 done",
    "tasks": ["digits-accuracy"],
    "strategy": "random",
    "mode": "forecast",
    "evaluator": "forecast",
    "num_evaluated": 12,
    "max_evaluations": 200,
    "best_value": 0.962,
    "description": "",
    "created_at": "2026-11-29T11:20:03Z",
}
BEST_EXAMPLE: dict[str, Any] = {
    "search_id": 17,
    "format": "genotype",
    "number": 12,
    "architecture_id": _ID,
    "values": [0.962],
    "violation": 0.0,
    "dag": None,
    "genotype": CELL,
    "pytorch": None,
}
PARETO_EXAMPLE: dict[str, Any] = {
    "search_id": 18,
    "objectives": [
        OBJECTIVE_EXAMPLE,
        {"task": "digits-latency", "metric": "latency_ms", "unit": "ms", "direction": "minimize"},
    ],
    "num_compared": 120,
    "reference": [0.88, 21.5],
    "hypervolume": 0.71,
    "items": [{"number": 61, "architecture_id": _ID, "genotype": CELL, "values": [0.962, 9.8]}],
}
STRATEGY_EXAMPLE: dict[str, Any] = {
    "name": "random",
    "description": "Draws architectures at random, none twice.",
    "source": "Li & Talwalkar, Random Search and Reproducibility for Neural Architecture Search, UAI 2019",
    "takes_several_objectives": True,
    "needs_forecasts": False,
    "settings": {"type": "object", "properties": {}, "additionalProperties": False},
}
EVENT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "One event. Those of one id are the same at every replica.",
    "properties": {
        "id": {"type": "string", "description": "For Last-Event-ID. The last event, `end`, has none."},
        "event": {
            "type": "string",
            "enum": ["created", "proposed", "evaluated", "improved", "epoch", "paused", "resumed", "end"],
        },
        "data": {"type": "string", "description": "A document as JSON."},
    },
    "required": ["event", "data"],
}
EVENT_EXAMPLE = {
    "id": "901",
    "event": "evaluated",
    "data": f'{{"number":12,"architecture_id":"{_ID}","values":[0.962],"source":"forecast","at":"2026-11-29T11:20:04Z"}}',
}
