"""Runs the migrations on the connection that `app.migration` hands over; knows nothing of the live tables."""

from __future__ import annotations

from typing import Any, Literal

import sqlalchemy as sa
from alembic import context


def _without_own_types(kind: str, item: Any, _context: object) -> str | Literal[False]:
    """A new migration names the database's type, not the application's decoration of it."""
    return f"sa.{item.impl!r}" if kind == "type" and isinstance(item, sa.TypeDecorator) else False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=context.config.attributes.get("target_metadata"),
    compare_type=True,
    render_as_batch=context.config.attributes.get("render_as_batch", True),
    render_item=_without_own_types,
)
with context.begin_transaction():
    context.run_migrations()
