"""Architecture searches, and the fidelity that a trial is asked for at."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "10f6aa76d730"
down_revision = "3e8a51c07b96"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "searches",
        sa.Column("id", ROW_ID, autoincrement=False, nullable=False),
        sa.Column("project_id", ROW_ID, nullable=False),
        sa.Column("search_space", sa.String(length=64), nullable=False),
        sa.Column("strategy", sa.String(length=64), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("evaluator", sa.String(length=16), nullable=False),
        sa.Column("constraints", sa.JSON(), nullable=False),
        sa.Column("start", sa.JSON(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("parallel", sa.Integer(), nullable=False),
        sa.Column("max_evaluations", sa.Integer(), nullable=True),
        sa.Column("max_seconds", sa.Double(), nullable=True),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("is_paused", sa.Boolean(), nullable=False),
        sa.Column("seconds_before", sa.Double(), nullable=False),
        sa.Column("counted_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("strategy_state", sa.JSON(), nullable=True),
        sa.Column("num_proposed", sa.Integer(), nullable=False),
        sa.Column("num_evaluated", sa.Integer(), nullable=False),
        sa.Column("num_failed", sa.Integer(), nullable=False),
        sa.Column("best_id", ROW_ID, nullable=True),
        sa.Column("ending", sa.Text(), nullable=True),
        sa.Column("created_by", sa.String(length=128), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["id"], ["jobs.id"], name=op.f("fk_searches_id_jobs")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_searches_project_id_projects")),
        sa.ForeignKeyConstraint(
            ["search_space"], ["search_spaces.name"], name=op.f("fk_searches_search_space_search_spaces")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_searches")),
    )
    op.create_index("ix_searches_project_id_id", "searches", ["project_id", "id"], unique=False)
    op.create_table(
        "search_evaluations",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("search_id", ROW_ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("architecture_id", sa.String(length=32), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("asked_fidelity", sa.Double(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=True),
        sa.Column("values", sa.JSON(), nullable=True),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("fidelity", sa.Double(), nullable=True),
        sa.Column("violation", sa.Double(), nullable=True),
        sa.Column("ended_number", sa.Integer(), nullable=True),
        sa.Column("is_improvement", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["architecture_id"], ["architectures.id"], name=op.f("fk_search_evaluations_architecture_id_architectures")
        ),
        sa.ForeignKeyConstraint(["search_id"], ["searches.id"], name=op.f("fk_search_evaluations_search_id_searches")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_search_evaluations")),
        sa.UniqueConstraint("search_id", "number", name=op.f("uq_search_evaluations_search_id_number")),
    )
    op.create_index("ix_search_evaluations_architecture_id", "search_evaluations", ["architecture_id"], unique=False)
    op.create_index(
        "ix_search_evaluations_search_id_state_number",
        "search_evaluations",
        ["search_id", "state", "number"],
        unique=False,
    )
    op.create_index(
        "ix_search_evaluations_search_id_value_id", "search_evaluations", ["search_id", "value", "id"], unique=False
    )
    op.create_table(
        "search_events",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("search_id", ROW_ID, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["search_id"], ["searches.id"], name=op.f("fk_search_events_search_id_searches")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_search_events")),
    )
    op.create_index("ix_search_events_search_id_id", "search_events", ["search_id", "id"], unique=False)
    op.create_table(
        "search_objectives",
        sa.Column("search_id", ROW_ID, nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("task_id", ROW_ID, nullable=False),
        sa.Column("direction", sa.String(length=8), nullable=False),
        sa.ForeignKeyConstraint(["search_id"], ["searches.id"], name=op.f("fk_search_objectives_search_id_searches")),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_search_objectives_task_id_tasks")),
        sa.PrimaryKeyConstraint("search_id", "position", name=op.f("pk_search_objectives")),
    )
    op.create_index("ix_search_objectives_task_id", "search_objectives", ["task_id"], unique=False)
    op.create_table(
        "search_trials",
        sa.Column("evaluation_id", ROW_ID, nullable=False),
        sa.Column("task_id", ROW_ID, nullable=False),
        sa.Column("trial_id", ROW_ID, nullable=False),
        sa.Column("search_id", ROW_ID, nullable=False),
        sa.Column("is_own", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["evaluation_id"], ["search_evaluations.id"], name=op.f("fk_search_trials_evaluation_id_search_evaluations")
        ),
        sa.ForeignKeyConstraint(["search_id"], ["searches.id"], name=op.f("fk_search_trials_search_id_searches")),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_search_trials_task_id_tasks")),
        sa.ForeignKeyConstraint(["trial_id"], ["trials.id"], name=op.f("fk_search_trials_trial_id_trials")),
        sa.PrimaryKeyConstraint("evaluation_id", "task_id", name=op.f("pk_search_trials")),
    )
    op.create_index("ix_search_trials_trial_id", "search_trials", ["trial_id"], unique=False)
    with op.batch_alter_table("trials") as batch_op:
        batch_op.add_column(sa.Column("fidelity", sa.Double(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("trials") as batch_op:
        batch_op.drop_column("fidelity")
    op.drop_index("ix_search_trials_trial_id", table_name="search_trials")
    op.drop_table("search_trials")
    op.drop_index("ix_search_objectives_task_id", table_name="search_objectives")
    op.drop_table("search_objectives")
    op.drop_index("ix_search_events_search_id_id", table_name="search_events")
    op.drop_table("search_events")
    op.drop_index("ix_search_evaluations_search_id_value_id", table_name="search_evaluations")
    op.drop_index("ix_search_evaluations_search_id_state_number", table_name="search_evaluations")
    op.drop_index("ix_search_evaluations_architecture_id", table_name="search_evaluations")
    op.drop_table("search_evaluations")
    op.drop_index("ix_searches_project_id_id", table_name="searches")
    op.drop_table("searches")
