"""Store who changed keys, credentials, webhook endpoints, links, erasures and legal holds."""

import sqlalchemy as sa
from alembic import op

from app.db.types import Json, UtcDateTime

revision = "20261129_audit"
down_revision = "20261129_key_requests"
branch_labels = None
depends_on = None
breaks_older = False


def upgrade() -> None:
    op.create_table(
        "audit_entries",
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("entry_id", sa.String(length=40), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("actor", sa.String(length=16), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=True),
        sa.Column("target", sa.String(length=64), nullable=True),
        sa.Column("request_id", sa.String(length=128), nullable=True),
        sa.Column("details", Json, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "entry_id", name=op.f("pk_audit_entries")),
    )
    op.create_index("ix_audit_entries_entry", "audit_entries", ["entry_id"])
    op.create_index("ix_audit_entries_key", "audit_entries", ["key_id", "entry_id"])


def downgrade() -> None:
    op.drop_table("audit_entries")
