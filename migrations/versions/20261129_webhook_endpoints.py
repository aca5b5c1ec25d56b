"""Store the endpoints of outbound webhooks, what is still to be sent to them, and the attempts."""

import sqlalchemy as sa
from alembic import op

from app.db.types import Counter, Json, UtcDateTime

revision = "20261129_webhook_endpoints"
down_revision = "20261129_sentiment_makers_key"
branch_labels = None
depends_on = None
breaks_older = False


def upgrade() -> None:
    is_due = sa.text("due_at IS NOT NULL")
    op.create_table(
        "webhook_endpoints",
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("endpoint_id", sa.String(length=40), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("rules", Json, nullable=False),
        sa.Column("secrets", sa.LargeBinary(), nullable=False),
        sa.Column("position_seq", Counter, nullable=False),
        sa.Column("recover_seq", Counter, nullable=True),
        sa.Column("recover_until", Counter, nullable=True),
        sa.Column("recover_all", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("disabled_at", UtcDateTime(), nullable=True),
        sa.Column("disabled_reason", sa.String(length=16), nullable=True),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("failing_since", UtcDateTime(), nullable=True),
        sa.Column("last_success_at", UtcDateTime(), nullable=True),
        sa.Column("held_until", UtcDateTime(), nullable=True),
        sa.Column("turn_at", UtcDateTime(), nullable=True),
        sa.Column("lease_owner", sa.String(length=64), nullable=True),
        sa.Column("lease_until", UtcDateTime(), nullable=True),
        sa.Column("created_by", sa.String(length=40), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "endpoint_id", name=op.f("pk_webhook_endpoints")),
    )
    op.create_table(
        "webhook_attempts",
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("attempt_id", sa.String(length=40), nullable=False),
        sa.Column("endpoint_id", sa.String(length=40), nullable=False),
        sa.Column("seq", Counter, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("message_id", sa.String(length=40), nullable=False),
        sa.Column("call_id", sa.String(length=40), nullable=True),
        sa.Column("type", sa.String(length=48), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("error", sa.String(length=32), nullable=True),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("next_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id", "endpoint_id"],
            ["webhook_endpoints.account_id", "webhook_endpoints.endpoint_id"],
            name=op.f("fk_webhook_attempts_account_id_endpoint_id"),
            onupdate="CASCADE",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", "attempt_id", name=op.f("pk_webhook_attempts")),
    )
    op.create_index(
        "ix_webhook_attempts_endpoint", "webhook_attempts", ["account_id", "endpoint_id", "attempt_id"]
    )
    op.create_index("ix_webhook_attempts_seq", "webhook_attempts", ["account_id", "endpoint_id", "seq"])
    op.create_index("ix_webhook_attempts_started", "webhook_attempts", ["started_at"])
    op.create_table(
        "webhook_messages",
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("endpoint_id", sa.String(length=40), nullable=False),
        sa.Column("seq", Counter, autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("message_id", sa.String(length=40), nullable=False),
        sa.Column("call_id", sa.String(length=40), nullable=False),
        sa.Column("type", sa.String(length=48), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "endpoint_id"],
            ["webhook_endpoints.account_id", "webhook_endpoints.endpoint_id"],
            name=op.f("fk_webhook_messages_account_id_endpoint_id"),
            onupdate="CASCADE",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", "endpoint_id", "seq", "kind", name=op.f("pk_webhook_messages")),
    )
    op.create_index("ix_webhook_messages_call", "webhook_messages", ["account_id", "call_id", "endpoint_id"])
    op.create_index("ix_webhook_messages_due", "webhook_messages", ["account_id", "endpoint_id", "due_at"])
    op.create_table(
        "webhook_waits",
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("endpoint_id", sa.String(length=40), nullable=False),
        sa.Column("call_id", sa.String(length=40), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=True),
        sa.Column("seq", Counter, nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id", "call_id"],
            ["calls.account_id", "calls.call_id"],
            name=op.f("fk_webhook_waits_account_id_call_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "endpoint_id"],
            ["webhook_endpoints.account_id", "webhook_endpoints.endpoint_id"],
            name=op.f("fk_webhook_waits_account_id_endpoint_id"),
            onupdate="CASCADE",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", "endpoint_id", "call_id", name=op.f("pk_webhook_waits")),
    )
    op.create_index("ix_webhook_waits_call", "webhook_waits", ["account_id", "call_id"])
    op.create_index(
        "ix_webhook_waits_due",
        "webhook_waits",
        ["account_id", "due_at"],
        postgresql_where=is_due,
        sqlite_where=is_due,
    )


def downgrade() -> None:
    for table in ("webhook_waits", "webhook_messages", "webhook_attempts", "webhook_endpoints"):
        op.drop_table(table)
