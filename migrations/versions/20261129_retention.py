"""Count what is removed after its retention: calls by day, of a sweep, and changes of the timeline."""

import sqlalchemy as sa
from alembic import op

from app.db.types import Counter

revision = "20261129_retention"
down_revision = "20261129_erasures"
branch_labels = None
depends_on = None
breaks_older = False


def upgrade() -> None:
    op.create_table(
        "removed_calls",
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("absent_reason", sa.String(length=64), nullable=False),
        sa.Column("swept", sa.Boolean(), nullable=False),
        sa.Column("number", Counter, nullable=False),
        sa.PrimaryKeyConstraint(
            "account_id", "day", "stage", "absent_reason", "swept", name=op.f("pk_removed_calls")
        ),
    )
    op.add_column(
        "accounts", sa.Column("timeline_floor", Counter, server_default=sa.text("0"), nullable=False)
    )
    op.add_column("sweeps", sa.Column("removed", sa.Integer(), server_default=sa.text("0"), nullable=False))


def downgrade() -> None:
    op.drop_column("sweeps", "removed")
    op.drop_column("accounts", "timeline_floor")
    op.drop_table("removed_calls")
