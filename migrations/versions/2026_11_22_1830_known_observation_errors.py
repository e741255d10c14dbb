"""known observation errors."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "3c7e0b52d1f4"
down_revision = "81afd215bea9"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("observations", sa.Column("std_error", sa.Double(), nullable=True))


def downgrade() -> None:
    op.drop_column("observations", "std_error")
