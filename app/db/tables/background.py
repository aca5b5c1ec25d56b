"""The state of background work: polls, rate buckets, sweeps, leases."""

from sqlalchemy import Column, Float, Index, Integer, String, Table, Text, text

from app.db.tables.base import account_key, metadata, partial_index
from app.db.types import Counter, Json, UtcDateTime

poll_targets = Table(
    "poll_targets",
    metadata,
    account_key(),
    Column("target", String(128), primary_key=True),  # "account", or an extension id
    Column("due_at", UtcDateTime),
    Column("lease_owner", String(64)),
    Column("lease_until", UtcDateTime),
    Column("memory", Json),  # of the planner
    Column("visibility", Json),  # learnt delays from end to appearance
    Column("last_poll_at", UtcDateTime),
    Index("ix_poll_targets_due", "due_at"),
)


rate_buckets = Table(
    "rate_buckets",
    metadata,
    account_key(),
    Column("bucket", String(128), primary_key=True),  # user, app and group
    Column("state", Json, nullable=False),
    # answered or given up, in total
    Column("requests", Counter, nullable=False, server_default=text("0")),
    Column("refused", Counter, nullable=False, server_default=text("0")),  # those with a 429
    Column("updated_at", UtcDateTime, nullable=False),
)


sweeps = Table(
    "sweeps",
    metadata,
    account_key(),
    Column("sweep_id", String(40), primary_key=True),
    Column("reason", String(32), nullable=False),  # regular | backfill | why no event could come
    Column("detail", Text),
    Column("from_at", UtcDateTime, nullable=False),
    Column("to_at", UtcDateTime),  # null: it is still open
    Column("cursor_at", UtcDateTime),  # calls that started before this were searched
    Column("span_seconds", Float),  # how much of it one read takes, as learnt
    Column("passes", Integer, nullable=False, server_default=text("0")),
    Column("due_at", UtcDateTime),  # when to continue; null: not now, or a command does it
    Column("done_at", UtcDateTime),
    Column("asked_at", UtcDateTime),  # when the calls that were live before it were checked
    Column("records", Integer, nullable=False, server_default=text("0")),  # read
    Column("found", Integer, nullable=False, server_default=text("0")),  # calls that no event had announced
    # calls of its time that no event had announced, and that were removed since
    Column("removed", Integer, nullable=False, server_default=text("0")),
    Column("problem", Json),  # why it does not progress
    Column("lease_owner", String(64)),
    Column("lease_until", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Index("ix_sweeps_from", "account_id", "from_at"),
    partial_index("ix_sweeps_due", "due_at", where="due_at IS NOT NULL"),
)


work = Table(
    "work",
    metadata,
    account_key(),
    Column("kind", String(96), primary_key=True),
    Column("due_at", UtcDateTime),  # nobody takes it before
    Column("lease_owner", String(64)),
    Column("lease_until", UtcDateTime),
    Column("failures", Integer, nullable=False, server_default=text("0")),
    Column("state", Json),
    Index("ix_work_due", "kind", "due_at"),
)
