"""What must be kept, and what was erased: legal holds, erasures, and the tombstones of erased calls."""

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    String,
    Table,
    Text,
    text,
)

from app.db.tables.base import account_key, metadata, partial_index
from app.db.types import Encrypted, Json, UtcDateTime
from app.ids import MAX_OUTSIDE_ID

legal_holds = Table(
    "legal_holds",
    metadata,
    account_key(),
    Column("call_id", String(40), primary_key=True),
    Column("telephony_session_id", String(160), nullable=False),  # of the call, for its deliveries
    Column("reason", Text),
    Column("placed_at", UtcDateTime, nullable=False),
    Column("placed_by", Json, nullable=False),  # kind, and the id and name of the API key
    # Not CASCADE as elsewhere: the database itself refuses to delete a held call.
    ForeignKeyConstraint(
        ["account_id", "call_id"], ["calls.account_id", "calls.call_id"], ondelete="RESTRICT"
    ),
    Index("ix_legal_holds_session", "account_id", "telephony_session_id"),
)


erasures = Table(
    "erasures",
    metadata,
    account_key(),
    Column("erasure_id", String(40), primary_key=True),
    Column("kind", String(16), nullable=False),  # phoneNumber | extensionId | call
    Column("subject", Encrypted),  # null once the erasure is done
    Column("subject_hash", String(64), nullable=False),  # keyed; see app.erasure.subjects
    Column("status", String(16), nullable=False),  # planned | running | done
    Column("planned", Json, nullable=False),  # what the dry run counted, by kind
    Column("erased", Json, nullable=False),  # what was erased so far, by kind
    Column("held", Integer, nullable=False, server_default=text("0")),  # calls under legal hold
    Column("spare_held", Boolean, nullable=False, server_default=text("false")),
    Column("progress", Json, nullable=False),  # the phase, and how far it has come
    Column("ordered_by", Json, nullable=False),  # kind, and the id and name of the API key
    Column("planned_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("completed_at", UtcDateTime),
    Column("due_at", UtcDateTime),  # of a running one: when to continue
    Column("problem", Text),  # why it does not progress
    Column("lease_owner", String(64)),
    Column("lease_until", UtcDateTime),
    partial_index("ix_erasures_due", "due_at", where="due_at IS NOT NULL"),
    Index("ix_erasures_planned", "account_id", "planned_at", "erasure_id"),
)


erased_calls = Table(
    "erased_calls",
    metadata,
    account_key(),
    Column("call_id", String(40), primary_key=True),
    Column("telephony_session_id", String(160), nullable=False),
    Column("session_id", String(MAX_OUTSIDE_ID)),
    Column("erasure_id", String(40), nullable=False),
    Column("erased_at", UtcDateTime, nullable=False),
)
"""Tombstones. They name sessions, which are RingCentral's, and nothing of the people in them."""


erased_names = Table(
    "erased_names",
    metadata,
    account_key(),
    # what RingCentral may still call the call by: a session, or `recording:` and the id of a recording
    Column("name", String(200), primary_key=True),
    Column("call_id", String(40), primary_key=True),
)


erased_files = Table(
    "erased_files",
    metadata,
    account_key(),
    Column("path", String(512), primary_key=True),  # in the archive; deleted after the rows that named it
    Column("erasure_id", String(40), nullable=False),
    Column("media_id", String(160), nullable=False),  # with the prefix that files of its kind have
    Column("due_at", UtcDateTime, nullable=False),
    Index("ix_erased_files_due", "account_id", "erasure_id", "due_at"),
)
