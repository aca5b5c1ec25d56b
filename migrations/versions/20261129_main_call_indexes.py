"""Index what lists filter calls by: internal, and not the main call; and the calls of a conversation."""

from typing import Any

from sqlalchemy import text

from app.db.indexes import create_index, drop_index

revision = "20261129_main_call_indexes"
down_revision = "20261129_main_calls"
branch_labels = None
depends_on = None
breaks_older = False


def _where(condition: str) -> dict[str, Any]:
    return {"postgresql_where": text(condition), "sqlite_where": text(condition)}


def upgrade() -> None:
    create_index("ix_calls_internal", "calls", ["account_id", "internal", "started_at", "call_id"])
    create_index(
        "ix_calls_not_main",
        "calls",
        ["account_id", "started_at", "call_id"],
        **_where("main_call_id IS NOT NULL"),
    )
    create_index(
        "ix_calls_conversation",
        "calls",
        ["account_id", "conversation_id", "main_call_id", "started_at", "call_id"],
        **_where("conversation_id IS NOT NULL"),
    )


def downgrade() -> None:
    for name in ("ix_calls_conversation", "ix_calls_not_main", "ix_calls_internal"):
        drop_index(name, "calls")
