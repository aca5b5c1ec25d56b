"""Outbound webhooks: who receives changes, what is still to be sent, and what became of it."""

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKeyConstraint,
    Index,
    Integer,
    String,
    Table,
    Text,
    text,
)

from app.db.tables.base import account_key, call_reference, metadata, partial_index
from app.db.types import Counter, Encrypted, Json, UtcDateTime


def _endpoint_reference() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["account_id", "endpoint_id"],
        ["webhook_endpoints.account_id", "webhook_endpoints.endpoint_id"],
        onupdate="CASCADE",  # `~` becomes an account
        ondelete="CASCADE",
    )


webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    account_key(),
    Column("endpoint_id", String(40), primary_key=True),
    Column("url", Text, nullable=False),
    Column("description", Text),
    Column("rules", Json, nullable=False),  # what is sent, and how: see push.endpoints.model.Rules
    Column("secrets", Encrypted, nullable=False),  # each with the time until which it signs
    # its changes up to this number have been sent or are in webhook_messages
    Column("position_seq", Counter, nullable=False),
    # a range of earlier changes that is being sent again: the next follows the first number
    Column("recover_seq", Counter),
    Column("recover_until", Counter),
    Column("recover_all", Boolean, nullable=False, server_default=text("false")),
    Column("disabled_at", UtcDateTime),
    Column("disabled_reason", String(16)),  # paused | gone | failing
    Column("failures", Integer, nullable=False, server_default=text("0")),  # in a row
    Column("failing_since", UtcDateTime),
    Column("last_success_at", UtcDateTime),
    Column("held_until", UtcDateTime),  # it asked for a pause (Retry-After)
    Column("turn_at", UtcDateTime),  # when a replica last took it
    Column("lease_owner", String(64)),
    Column("lease_until", UtcDateTime),
    Column("created_by", String(40)),  # an API key
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)


webhook_messages = Table(
    "webhook_messages",
    metadata,
    account_key(),
    Column("endpoint_id", String(40), primary_key=True),
    Column("seq", Counter, primary_key=True, autoincrement=False),  # of the change in the timeline
    Column("kind", String(16), primary_key=True),  # change | complete
    Column("message_id", String(40), nullable=False),  # the cursor after the change: `webhook-id`
    Column("call_id", String(40), nullable=False),
    Column("type", String(48), nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    # those of one call never become due before an earlier one of it
    Column("due_at", UtcDateTime, nullable=False),
    # a success that ends a failure of the endpoint makes it due then; null: it keeps its schedule
    Column("soonest_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    _endpoint_reference(),
    Index("ix_webhook_messages_due", "account_id", "endpoint_id", "due_at"),
    Index("ix_webhook_messages_call", "account_id", "call_id", "endpoint_id"),
)


webhook_waits = Table(
    "webhook_waits",
    metadata,
    account_key(),
    Column("endpoint_id", String(40), primary_key=True),
    Column("call_id", String(40), primary_key=True),
    Column("due_at", UtcDateTime),  # it is sent then, complete or not; null: it was sent, or is not wanted
    Column("seq", Counter),  # the change with which it was sent
    _endpoint_reference(),
    call_reference(),
    Index("ix_webhook_waits_call", "account_id", "call_id"),
    partial_index("ix_webhook_waits_due", "account_id", "due_at", where="due_at IS NOT NULL"),
)


webhook_attempts = Table(
    "webhook_attempts",
    metadata,
    account_key(),
    Column("attempt_id", String(40), primary_key=True),
    Column("endpoint_id", String(40), nullable=False),
    Column("seq", Counter, nullable=False),  # 0: a test
    Column("kind", String(16), nullable=False),  # change | complete | test
    Column("message_id", String(40), nullable=False),
    Column("call_id", String(40)),
    Column("type", String(48), nullable=False),
    Column("number", Integer, nullable=False),
    Column("outcome", String(16), nullable=False),  # delivered | failed
    Column("status", Integer),  # of the response; null: none came
    Column("error", String(32)),  # why none came
    Column("seconds", Float, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("next_at", UtcDateTime),  # when it is tried again; null: not
    _endpoint_reference(),
    Index("ix_webhook_attempts_endpoint", "account_id", "endpoint_id", "attempt_id"),
    Index("ix_webhook_attempts_seq", "account_id", "endpoint_id", "seq"),
    Index("ix_webhook_attempts_started", "started_at"),
)
