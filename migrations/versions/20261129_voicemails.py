"""Store the voicemails that calls name."""

import sqlalchemy as sa
from alembic import op

from app.db.types import Counter, UtcDateTime

revision = "20261129_voicemails"
down_revision = "20261129_main_call_indexes"
branch_labels = None
depends_on = None
breaks_older = False


def upgrade() -> None:
    op.create_table(
        "voicemails",
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("voicemail_id", sa.String(length=128), nullable=False),
        sa.Column("call_id", sa.String(length=40), nullable=False),
        sa.Column("extension_id", sa.String(length=128), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("content_uri", sa.Text(), nullable=True),
        sa.Column("content_type", sa.String(length=128), nullable=True),
        sa.Column("duration_seconds", sa.Float(), nullable=True),
        sa.Column("transcript", sa.Text(), nullable=True),
        sa.Column("transcript_status", sa.String(length=32), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=True),
        sa.Column("problem", sa.String(length=256), nullable=True),
        sa.Column("archive_path", sa.Text(), nullable=True),
        sa.Column("archive_bytes", Counter, nullable=True),
        sa.Column("archive_sha256", sa.String(length=64), nullable=True),
        sa.Column("archived_at", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "call_id"],
            ["calls.account_id", "calls.call_id"],
            name=op.f("fk_voicemails_account_id_call_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", "voicemail_id", "call_id", name=op.f("pk_voicemails")),
    )
    op.create_index("ix_voicemails_call", "voicemails", ["account_id", "call_id"])
    op.create_index(
        "ix_voicemails_due",
        "voicemails",
        ["account_id", "due_at"],
        postgresql_where=sa.text("due_at IS NOT NULL"),
        sqlite_where=sa.text("due_at IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_table("voicemails")
