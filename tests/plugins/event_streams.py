"""Reads streams of server-sent events."""

from __future__ import annotations

import json
from typing import Any


def read(text: str) -> list[dict[str, Any]]:
    """The events of a stream: id, kind and data of each; comments and `retry` are left out."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "event" in fields:
            found.append({**fields, "data": json.loads(fields["data"])})
    return found
