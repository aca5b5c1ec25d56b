"""Deliveries, calls, and what is known of each call."""

from sqlalchemy import (
    Boolean,
    Column,
    Date,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from app.db.tables.base import account_key, call_reference, metadata, partial_index
from app.db.types import Body, Counter, Json, UtcDateTime
from app.ids import MAX_OUTSIDE_ID
from app.values import widths

deliveries = Table(
    "deliveries",
    metadata,
    account_key(),
    Column("uuid", String(128), primary_key=True),
    # On PostgreSQL part of the primary key: the table is partitioned by it. See webhooks.intake.days
    Column("day", Date, nullable=False, server_default=text("CURRENT_DATE")),
    Column("received_at", UtcDateTime, nullable=False),
    Column("telephony_session_id", String(128)),
    Column("raw", Body, nullable=False),  # packed once it is folded; see values.packed_bodies
    Column("folded_at", UtcDateTime),
    Column("fold_note", Text),  # why it became part of no call; null if it did
    partial_index("ix_deliveries_unfolded", "account_id", "received_at", where="folded_at IS NULL"),
    partial_index("ix_deliveries_noted", "account_id", "received_at", where="fold_note IS NOT NULL"),
    partial_index("ix_deliveries_folded", "received_at", where="folded_at IS NOT NULL"),
    Index("ix_deliveries_session", "account_id", "telephony_session_id"),
)


INTERNAL = "internal"
UNKNOWN_INTERNAL = "internal IS NULL"
RECORDED = "has_recording"
ODD = {
    "postgresql": (
        "ended_at < started_at OR ended_at - started_at > interval '6 hours' OR updated_at < started_at"
    ),
    "sqlite": (
        "ended_at < started_at OR julianday(ended_at) - julianday(started_at) > 0.25"
        " OR updated_at < started_at"
    ),
}
"""Conditions of partial indexes, worded as queries must repeat them.

`ODD`: the few calls for which a bound on the start says nothing of the end or of the last change. A query
names the table, because no other of its tables may have these columns.
"""

calls = Table(
    "calls",
    metadata,
    account_key(),
    Column("call_id", String(40), primary_key=True),
    Column("telephony_session_id", String(160), nullable=False),
    Column("session_id", String(MAX_OUTSIDE_ID)),
    Column("stage", String(16), nullable=False),
    Column("absent_reason", String(64)),
    Column("version", Integer, nullable=False),
    Column("changed_seq", Counter, nullable=False),  # its last change in the timeline
    Column("direction", String(widths.DIRECTION)),
    Column("internal", Boolean),
    Column("outcome", String(32), nullable=False),
    Column("result", String(widths.RESULT)),
    Column("action", String(widths.ACTION)),
    Column("caller", Json),  # `from` of the API
    Column("callee", Json),  # `to` of the API
    Column("external_number", String(widths.PHONE_NUMBER)),
    Column("queue_name", String(widths.TEXT)),
    Column("agent_extension_id", String(MAX_OUTSIDE_ID)),  # whose call it is: placed it, or answered first
    Column("started_at", UtcDateTime, nullable=False),  # orders calls: the first time known of the call
    Column("answered_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
    Column("duration_seconds", Integer),
    Column("has_recording", Boolean, nullable=False, server_default=text("false")),
    Column("parties", Json, nullable=False),
    Column("related", Json, nullable=False),  # related sessions, named by it or naming it
    Column("conversation_id", String(40)),  # shared by all calls that links join, directly or not
    Column("main_call_id", String(40)),  # the one to write into a CRM; null: this one. See calls.main_calls
    Column("details", Json, nullable=False),  # ring, talk and hold seconds and the like
    Column("facts", Json, nullable=False),  # what events said, as a set; see calls.evidence.facts
    Column("primary_record_id", String(MAX_OUTSIDE_ID)),
    Column("readiness", Json, nullable=False),
    Column("source", String(16), nullable=False),  # what announced the call first
    Column("end_check_at", UtcDateTime),  # due: check whether it is over
    Column("ask_at", UtcDateTime),  # due, of a live call: ask RingCentral whether it goes on
    # RingCentral or an event confirmed then that it goes on, or is over
    Column("state_known_at", UtcDateTime),
    Column("end_known_at", UtcDateTime),  # when we concluded that it was over
    Column("window_closes_at", UtcDateTime),  # set at the end: Active Calls shows it until then
    Column("read_at", UtcDateTime),  # due: read it in the Call Log
    Column("reads", Integer, nullable=False, server_default=text("0")),
    Column("record_digest", String(64)),  # of the last Detailed read, to see whether it still changes
    Column("record_unchanged_since", UtcDateTime),
    Column("insights_at", UtcDateTime),  # due: request insights
    Column("bootstrapped_at", UtcDateTime),
    Column("bootstrapped_by", String(16)),
    Column("looks", Integer, nullable=False, server_default=text("0")),  # polls that waited for it
    Column("last_missed_at", UtcDateTime),  # the last poll that did not show it yet
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    UniqueConstraint("account_id", "telephony_session_id"),
    Index("ix_calls_started", "account_id", "started_at", "call_id"),
    Index("ix_calls_changed", "account_id", "changed_seq"),
    Index("ix_calls_ended", "account_id", "ended_at", "call_id"),
    Index("ix_calls_outcome", "account_id", "outcome", "started_at", "call_id"),
    Index("ix_calls_stage", "account_id", "stage", "started_at", "call_id"),
    partial_index("ix_calls_internal_only", "account_id", "started_at", "call_id", where=INTERNAL),
    partial_index("ix_calls_internal_unknown", "account_id", "started_at", "call_id", where=UNKNOWN_INTERNAL),
    partial_index(
        "ix_calls_not_main", "account_id", "started_at", "call_id", where="main_call_id IS NOT NULL"
    ),
    partial_index(
        "ix_calls_conversation",
        "account_id",
        "conversation_id",
        "main_call_id",
        "started_at",
        "call_id",
        where="conversation_id IS NOT NULL",
    ),
    partial_index("ix_calls_end_check", "end_check_at", where="end_check_at IS NOT NULL"),
    partial_index(
        "ix_calls_of_agent",
        "account_id",
        "agent_extension_id",
        "started_at",
        "call_id",
        where="agent_extension_id IS NOT NULL",
    ),
    partial_index("ix_calls_with_recording", "account_id", "started_at", "call_id", where=RECORDED),
    Index(
        "ix_calls_odd",
        "account_id",
        postgresql_where=text(ODD["postgresql"]),
        sqlite_where=text(ODD["sqlite"]),
    ),
    partial_index("ix_calls_insights", "account_id", "insights_at", where="insights_at IS NOT NULL"),
    Index("ix_calls_window", "account_id", "window_closes_at"),
    partial_index("ix_calls_open_window", "window_closes_at", "account_id", where="stage = 'ended'"),
    partial_index("ix_calls_read", "account_id", "read_at", where="read_at IS NOT NULL"),
)


removed_calls = Table(
    "removed_calls",
    metadata,
    account_key(),
    Column("day", Integer, primary_key=True, autoincrement=False),  # on which they ended: days since 1970
    Column("stage", String(16), primary_key=True),
    Column("absent_reason", String(64), primary_key=True),  # empty: they were not absent
    Column("swept", Boolean, primary_key=True),  # no event announced them
    Column("number", Counter, nullable=False),
)


call_aliases = Table(
    "call_aliases",
    metadata,
    account_key(),
    Column("alias", String(160), primary_key=True),
    Column("call_id", String(40), primary_key=True),
    call_reference(),
    Index("ix_call_aliases_call", "account_id", "call_id"),
)


call_parties = Table(
    "call_parties",
    metadata,
    account_key(),
    Column("call_id", String(40), primary_key=True),
    Column("kind", String(16), primary_key=True),  # extension | number
    Column("value", String(widths.PHONE_NUMBER), primary_key=True),
    Column("started_at", UtcDateTime, nullable=False),
    call_reference(),
    Index("ix_call_parties_value", "account_id", "kind", "value", "started_at", "call_id"),
)


call_links = Table(
    "call_links",
    metadata,
    account_key(),
    Column("call_id", String(40), primary_key=True),  # the call that names the other
    Column("other", String(160), primary_key=True),  # the other session, whether we know its call or not
    Column("kind", String(32), primary_key=True),
    Column("session_id", String(MAX_OUTSIDE_ID)),  # the other's, if it was given
    call_reference(),
    Index("ix_call_links_other", "account_id", "other"),
)


# No foreign key to calls: the change that tells followers that a call was erased outlives the call.
timeline = Table(
    "timeline",
    metadata,
    account_key(),
    Column("seq", Counter, primary_key=True, autoincrement=False),
    Column("call_id", String(40), nullable=False),
    Column("version", Integer, nullable=False),
    Column("type", String(48), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("data", Json, nullable=False),
    Column("mark", String(12)),  # random, per transaction: distinguishes histories after a restore
    # Without the number: all changes of a call are one entry on PostgreSQL, and a sort of them is quick.
    Index("ix_timeline_of_call", "account_id", "call_id"),
)
