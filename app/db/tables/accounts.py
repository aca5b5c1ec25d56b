"""Accounts, their credentials and subscriptions, and who may call us."""

from sqlalchemy import Column, Index, Integer, String, Table, Text, UniqueConstraint, text

from app.db.tables.base import account_key, metadata
from app.db.types import Counter, Encrypted, Json, UtcDateTime
from app.ids import MAX_OUTSIDE_ID
from app.values import widths

accounts = Table(
    "accounts",
    metadata,
    account_key(),
    Column("bound_to", String(128)),  # only of "~": the account of the environment's credentials
    Column("timeline_seq", Counter, nullable=False, server_default=text("0")),
    # the last change that was removed after its retention
    Column("timeline_floor", Counter, nullable=False, server_default=text("0")),
    Column("home_country", String(2)),  # only of "~": the setting, which decides for all accounts
    Column("added_at", UtcDateTime),  # when credentials were first added for it; they may be gone by now
    Column("created_at", UtcDateTime, nullable=False),
)


credentials = Table(
    "credentials",
    metadata,
    account_key(),
    Column("name", String(64), primary_key=True),
    # own (the environment's) | jwt | oauth
    Column("kind", String(16), nullable=False, server_default=text("'own'")),
    Column("secret", Encrypted),  # client id and secret, JWT or the sign-in's id
    Column("access", Json),  # what they can access, and problems: see accounts.access.Access
    Column("token", Encrypted),
    Column("refused", Json),
    Column("lease_owner", String(64)),
    Column("lease_until", UtcDateTime),
    Column("updated_at", UtcDateTime, nullable=False),
)


subscriptions = Table(
    "subscriptions",
    metadata,
    account_key(),
    Column("subscription_id", String(MAX_OUTSIDE_ID), primary_key=True),
    # of the credentials that own it
    Column("name", String(64), nullable=False, server_default=text("'own'")),
    Column("address", Text, nullable=False),
    Column("filters", Json, nullable=False),
    Column("disabled_filters", Json),
    Column("status", String(widths.SUBSCRIPTION_STATUS), nullable=False),
    Column("expires_at", UtcDateTime),
    Column("renew_at", UtcDateTime),
    Column("checked_at", UtcDateTime, nullable=False),
    Column("token_digest", String(64)),  # of the secret that it was created with; null: adopted, unknown
    Column("refused_since", UtcDateTime),  # its deliveries carry another secret than ours
)


api_keys = Table(
    "api_keys",
    metadata,
    account_key(),
    Column("key_id", String(40), primary_key=True),
    Column("name", String(128), nullable=False),
    Column("digest", String(64), nullable=False),  # SHA-256 of a key with 256 random bits
    Column("scopes", Json, nullable=False),
    Column("origins", Json),  # of web pages that may use it
    Column("requests_per_minute", Integer),  # null: as the settings say; 0: no limit
    Column("created_at", UtcDateTime, nullable=False),
    Column("revoked_at", UtcDateTime),
    UniqueConstraint("account_id", "digest"),
    Index("ix_api_keys_digest", "digest"),
)


key_requests = Table(
    "key_requests",
    metadata,
    account_key(),
    Column("key_id", String(40), primary_key=True),
    Column("entry_id", String(40), primary_key=True),  # sorts by time
    Column("at", UtcDateTime, nullable=False),
    Column("method", String(16), nullable=False),
    Column("route", String(160)),  # the template of the path: no ids and no numbers
    Column("status", Integer),
    Column("milliseconds", Integer, nullable=False),
    Column("request_id", String(128), nullable=False),
)


audit_entries = Table(
    "audit_entries",
    metadata,
    account_key(),  # of the thing; of a refused request, that of its key
    Column("entry_id", String(40), primary_key=True),  # sorts by time
    Column("at", UtcDateTime, nullable=False),
    Column("action", String(32), nullable=False),
    Column("outcome", String(16), nullable=False),  # done | unchanged | refused
    Column("actor", String(16), nullable=False),  # apiKey | command | signIn | service
    Column("key_id", String(40)),
    Column("target", String(64)),  # an id of ours, or the name of credentials
    Column("request_id", String(128)),
    Column("details", Json, nullable=False),
    Index("ix_audit_entries_entry", "entry_id"),
    Index("ix_audit_entries_key", "key_id", "entry_id"),
)


idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    account_key(),
    Column("key_id", String(40), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("request_digest", String(64), nullable=False),
    Column("status", Integer, nullable=False),
    Column("headers", Json, nullable=False),
    Column("body", Json, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Index("ix_idempotency_keys_created", "created_at"),
)
