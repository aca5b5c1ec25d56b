"""Store the last requests of each API key, for its author."""

import sqlalchemy as sa
from alembic import op

from app.db.types import UtcDateTime

revision = "20261129_key_requests"
down_revision = "20261129_key_limits"
branch_labels = None
depends_on = None
breaks_older = False


def upgrade() -> None:
    op.create_table(
        "key_requests",
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("entry_id", sa.String(length=40), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("method", sa.String(length=16), nullable=False),
        sa.Column("route", sa.String(length=160), nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("milliseconds", sa.Integer(), nullable=False),
        sa.Column("request_id", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "key_id", "entry_id", name=op.f("pk_key_requests")),
    )


def downgrade() -> None:
    op.drop_table("key_requests")
