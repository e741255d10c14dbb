"""trials under a lease."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "c80769c24f29"
down_revision = "3c7e0b52d1f4"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "trials",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("task_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("architecture_id", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("worker_id", sa.String(length=128), nullable=True),
        sa.Column("token_hash", sa.String(length=64), nullable=True),
        sa.Column("lease_number", sa.Integer(), nullable=False),
        sa.Column("lease_seconds", sa.Double(), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("num_expiries", sa.Integer(), nullable=False),
        sa.Column("num_failures", sa.Integer(), nullable=False),
        sa.Column("forecast_mean", sa.Double(), nullable=True),
        sa.Column("forecast_std", sa.Double(), nullable=True),
        sa.Column("model_version_id", sa.String(length=32), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("outcome_digest", sa.String(length=64), nullable=True),
        sa.Column("observation_ids", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["architecture_id"], ["architectures.id"], name=op.f("fk_trials_architecture_id_architectures")
        ),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_trials_task_id_tasks")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trials")),
    )
    op.create_index("ix_trials_state_lease_expires_at", "trials", ["state", "lease_expires_at"], unique=False)
    op.create_index("ix_trials_task_id_id", "trials", ["task_id", "id"], unique=False)
    op.create_index("ix_trials_task_id_state_id", "trials", ["task_id", "state", "id"], unique=False)
    op.create_index("ix_trials_task_id_worker_id_id", "trials", ["task_id", "worker_id", "id"], unique=False)
    op.create_index(
        "uq_trials_open",
        "trials",
        ["task_id", "architecture_id"],
        unique=True,
        sqlite_where=sa.text("state IN ('requested', 'leased', 'expired', 'abandoned')"),
        postgresql_where=sa.text("state IN ('requested', 'leased', 'expired', 'abandoned')"),
    )

    op.create_table(
        "trial_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("trial_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("from_state", sa.String(length=16), nullable=True),
        sa.Column("to_state", sa.String(length=16), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("worker_id", sa.String(length=128), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["trial_id"], ["trials.id"], name=op.f("fk_trial_events_trial_id_trials")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trial_events")),
    )
    op.create_index("ix_trial_events_trial_id_id", "trial_events", ["trial_id", "id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_trial_events_trial_id_id", table_name="trial_events")

    op.drop_table("trial_events")
    op.drop_index(
        "uq_trials_open",
        table_name="trials",
        sqlite_where=sa.text("state IN ('requested', 'leased', 'expired', 'abandoned')"),
        postgresql_where=sa.text("state IN ('requested', 'leased', 'expired', 'abandoned')"),
    )
    op.drop_index("ix_trials_task_id_worker_id_id", table_name="trials")
    op.drop_index("ix_trials_task_id_state_id", table_name="trials")
    op.drop_index("ix_trials_task_id_id", table_name="trials")
    op.drop_index("ix_trials_state_lease_expires_at", table_name="trials")

    op.drop_table("trials")
