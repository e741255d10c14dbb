"""indexes that lists are sorted and filtered by."""

from __future__ import annotations

from alembic import op

revision = "b7d04e6f1c35"
down_revision = "5f1c9d27a8e4"
branch_labels = None
depends_on = None

INDEXES = {
    "ix_observations_task_id_value_id": ("observations", ["task_id", "value", "id"]),
    "ix_observations_task_id_created_at_id": ("observations", ["task_id", "created_at", "id"]),
    "ix_tasks_created_at_id": ("tasks", ["created_at", "id"]),
    "ix_model_versions_created_at_id": ("model_versions", ["created_at", "id"]),
    "ix_trials_task_id_changed_at_id": ("trials", ["task_id", "changed_at", "id"]),
    "ix_jobs_kind_id": ("jobs", ["kind", "id"]),
}


def upgrade() -> None:
    for name, (table, columns) in INDEXES.items():
        op.create_index(name, table, columns, unique=False)


def downgrade() -> None:
    for name, (table, _columns) in reversed(INDEXES.items()):
        op.drop_index(name, table_name=table)
