"""Store the addresses at which people and CRMs can open recordings and voicemails."""

import sqlalchemy as sa
from alembic import op

from app.db.types import UtcDateTime

revision = "20261129_audio_links"
down_revision = "20261129_webhook_endpoints"
branch_labels = None
depends_on = None
breaks_older = False


def upgrade() -> None:
    op.create_table(
        "audio_links",
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("link_id", sa.String(length=40), nullable=False),
        sa.Column("call_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("media_id", sa.String(length=128), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("revoked_at", UtcDateTime(), nullable=True),
        sa.Column("uses", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_used_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id", "call_id"],
            ["calls.account_id", "calls.call_id"],
            name=op.f("fk_audio_links_account_id_call_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", "link_id", name=op.f("pk_audio_links")),
    )
    op.create_index("ix_audio_links_link", "audio_links", ["link_id"])
    op.create_index("ix_audio_links_call", "audio_links", ["account_id", "call_id"])
    op.create_index("ix_audio_links_media", "audio_links", ["account_id", "kind", "media_id", "created_at"])


def downgrade() -> None:
    op.drop_table("audio_links")
