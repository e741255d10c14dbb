"""projects, keys, rate limits, audit log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "5d1f0a7c93be"
down_revision = "b7d04e6f1c35"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_SHARED = sa.text("project_id IS NULL")
_SHIPPED = tuple(
    f"nasbench201.{dataset}.{metric}"
    for dataset in ("digits", "photo_regions")
    for metric in ("accuracy", "latency_ms.cpu", "train_seconds.cpu")
)
"""What came with the program so far: it belongs to no project, everything else to the default one."""


def upgrade() -> None:
    op.create_table(
        "projects",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("is_learned_from", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
        sa.UniqueConstraint("name", name=op.f("uq_projects_name")),
    )
    op.execute("INSERT INTO projects (name, is_learned_from, created_at) VALUES ('default', true, CURRENT_TIMESTAMP)")
    _give_tasks_projects()
    op.create_table(
        "api_keys",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("project_id", _ROW_ID, nullable=True),
        sa.Column("hint", sa.String(length=24), nullable=False),
        sa.Column("key_hash", sa.String(length=64), nullable=False),
        sa.Column("secret_id", sa.String(length=16), nullable=False),
        sa.Column("requests_per_minute", sa.Integer(), nullable=True),
        sa.Column("created_by", sa.String(length=128), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_api_keys_project_id_projects")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("key_hash", name=op.f("uq_api_keys_key_hash")),
    )
    op.create_table(
        "server_secrets",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("value", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_server_secrets")),
    )
    op.create_table(
        "rate_buckets",
        sa.Column("caller", sa.String(length=128), nullable=False),
        sa.Column("tokens", sa.Double(), nullable=False),
        sa.Column("refilled_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("caller", name=op.f("pk_rate_buckets")),
    )
    op.create_table(
        "audit_entries",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("caller", sa.String(length=128), nullable=False),
        sa.Column("caller_name", sa.String(length=256), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("operation", sa.String(length=64), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=True),
        sa.Column("address", sa.String(length=64), nullable=True),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_entries")),
    )
    op.create_index("ix_audit_entries_caller_id", "audit_entries", ["caller", "id"], unique=False)
    op.create_index("ix_audit_entries_operation_id", "audit_entries", ["operation", "id"], unique=False)
    op.create_index("ix_audit_entries_created_at", "audit_entries", ["created_at"], unique=False)


def _give_tasks_projects() -> None:
    with op.batch_alter_table("tasks") as batch:
        batch.drop_constraint("uq_tasks_name", type_="unique")
        batch.add_column(sa.Column("project_id", _ROW_ID, nullable=True))
        batch.create_foreign_key(op.f("fk_tasks_project_id_projects"), "projects", ["project_id"], ["id"])
        batch.create_unique_constraint(op.f("uq_tasks_project_id_name"), ["project_id", "name"])
    shipped = ", ".join(f"'{name}'" for name in _SHIPPED)
    op.execute(f"UPDATE tasks SET project_id = (SELECT min(id) FROM projects) WHERE name NOT IN ({shipped})")
    op.create_index(
        "uq_tasks_shared_name", "tasks", ["name"], unique=True, sqlite_where=_SHARED, postgresql_where=_SHARED
    )
    op.create_index("ix_tasks_name", "tasks", ["name"], unique=False)


def downgrade() -> None:
    op.drop_table("audit_entries")
    op.drop_table("rate_buckets")
    op.drop_table("server_secrets")
    op.drop_table("api_keys")
    op.drop_index("ix_tasks_name", table_name="tasks")
    op.drop_index("uq_tasks_shared_name", table_name="tasks", sqlite_where=_SHARED, postgresql_where=_SHARED)
    with op.batch_alter_table("tasks") as batch:
        batch.drop_constraint("uq_tasks_project_id_name", type_="unique")
        batch.drop_constraint("fk_tasks_project_id_projects", type_="foreignkey")
        batch.drop_column("project_id")
        batch.create_unique_constraint(op.f("uq_tasks_name"), ["name"])
    op.drop_table("projects")
