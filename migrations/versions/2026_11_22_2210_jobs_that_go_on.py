"""jobs that go on from a checkpoint, their files; pins, drift and schedules."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "5d1c7a40be92"
down_revision = "5d1f0a7c93be"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("lease_number", sa.Integer(), nullable=False, server_default="0"))
    with op.batch_alter_table("jobs") as jobs:
        jobs.alter_column("lease_number", server_default=None)
    with op.batch_alter_table("promotions") as promotions:
        promotions.add_column(sa.Column("job_id", _ROW_ID, nullable=True))
        promotions.create_unique_constraint(op.f("uq_promotions_job_id"), ["job_id"])
        promotions.create_foreign_key(op.f("fk_promotions_job_id_jobs"), "jobs", ["job_id"], ["id"])
    _create_pins()
    _create_drift()
    op.create_table(
        "schedules",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("expression", sa.String(length=256), nullable=False),
        sa.Column("acted_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_schedules")),
    )
    op.create_table(
        "job_checkpoints",
        sa.Column("job_id", _ROW_ID, nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("saved_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_checkpoints_job_id_jobs")),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_job_checkpoints")),
    )
    op.create_table(
        "job_files",
        sa.Column("job_id", _ROW_ID, nullable=False),
        sa.Column("role", sa.String(length=8), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_files_job_id_jobs")),
        sa.PrimaryKeyConstraint("job_id", "role", "number", name=op.f("pk_job_files")),
    )


def _create_pins() -> None:
    op.create_table(
        "pins",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("task_id", _ROW_ID, nullable=False),
        sa.Column("model_version_id", sa.String(length=32), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_pins_task_id_tasks")),
        sa.ForeignKeyConstraint(
            ["model_version_id"], ["model_versions.id"], name=op.f("fk_pins_model_version_id_model_versions")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pins")),
    )
    op.create_index("ix_pins_task_id_id", "pins", ["task_id", "id"], unique=False)


def _create_drift() -> None:
    op.create_table(
        "drift",
        sa.Column("task_id", _ROW_ID, nullable=False),
        sa.Column("model_version_id", sa.String(length=32), nullable=False),
        sa.Column("last_observation_id", _ROW_ID, nullable=False),
        sa.Column("num_pairs", sa.Integer(), nullable=False),
        sa.Column("num_misses", sa.Integer(), nullable=False),
        sa.Column("statistic", sa.Double(), nullable=False),
        sa.Column("num_alarms", sa.Integer(), nullable=False),
        sa.Column("alarmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_drift_task_id_tasks")),
        sa.ForeignKeyConstraint(
            ["model_version_id"], ["model_versions.id"], name=op.f("fk_drift_model_version_id_model_versions")
        ),
        sa.PrimaryKeyConstraint("task_id", "model_version_id", name=op.f("pk_drift")),
    )


def downgrade() -> None:
    op.drop_table("job_files")
    op.drop_table("job_checkpoints")
    op.drop_table("schedules")
    op.drop_table("drift")
    op.drop_index("ix_pins_task_id_id", table_name="pins")
    op.drop_table("pins")
    with op.batch_alter_table("promotions") as promotions:
        promotions.drop_constraint(op.f("fk_promotions_job_id_jobs"), type_="foreignkey")
        promotions.drop_constraint(op.f("uq_promotions_job_id"), type_="unique")
        promotions.drop_column("job_id")
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_column("lease_number")
