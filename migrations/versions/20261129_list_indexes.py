"""Index what lists need, and drop what no list needs: values that most calls have lead to no fewer calls."""

from sqlalchemy import text

from app.db.indexes import create_index, drop_index

revision = "20261129_list_indexes"
down_revision = "20261129_delivery_partitions"
branch_labels = None
depends_on = None
breaks_older = False

_STARTS = ["started_at", "call_id"]
_ODD = {
    "postgresql_where": text(
        "ended_at < started_at OR ended_at - started_at > interval '6 hours' OR updated_at < started_at"
    ),
    "sqlite_where": text(
        "ended_at < started_at OR julianday(ended_at) - julianday(started_at) > 0.25"
        " OR updated_at < started_at"
    ),
}
_PARTIAL = {
    "ix_calls_internal_only": (["account_id", *_STARTS], "internal"),
    "ix_calls_internal_unknown": (["account_id", *_STARTS], "internal IS NULL"),
    "ix_calls_of_agent": (["account_id", "agent_extension_id", *_STARTS], "agent_extension_id IS NOT NULL"),
    "ix_calls_with_recording": (["account_id", *_STARTS], "has_recording"),
}
_DROPPED = {
    "ix_calls_direction": "direction",
    "ix_calls_internal": "internal",
    "ix_calls_agent": "agent_extension_id",
    "ix_calls_recorded": "has_recording",
}


def upgrade() -> None:
    for name, (columns, where) in _PARTIAL.items():
        create_index(name, "calls", columns, postgresql_where=text(where), sqlite_where=text(where))
    create_index("ix_calls_odd", "calls", ["account_id"], **_ODD)
    for name in _DROPPED:
        drop_index(name, "calls")


def downgrade() -> None:
    for name, column in _DROPPED.items():
        create_index(name, "calls", ["account_id", column, *_STARTS])
    for name in ("ix_calls_odd", *reversed(_PARTIAL)):
        drop_index(name, "calls")
