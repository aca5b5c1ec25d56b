"""What people and CRMs attach to calls. `subject` is the call's id, or the name under which it waits for its
call.
"""

from sqlalchemy import Boolean, Column, Float, Index, Integer, String, Table, Text, UniqueConstraint, text

from app.db.tables.base import account_key, metadata, partial_index
from app.db.types import ExactJson, Json, UtcDateTime

IS_PARKED = "parked IS true"
"""The condition of the indexes that find what has waited for its call for a long time."""

notes = Table(
    "notes",
    metadata,
    account_key(),
    Column("note_id", String(40), primary_key=True),
    Column("subject", String(160), nullable=False),
    Column("parked", Boolean, nullable=False),
    Column("source", String(64), nullable=False),
    Column("external_id", String(256)),
    Column("title", Text),
    Column("text", Text, nullable=False),
    Column("plain_text", Text),  # of Markdown and HTML
    Column("format", String(16), nullable=False),
    Column("author", Json),
    Column("version", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    UniqueConstraint("account_id", "subject", "source", "external_id"),
    Index("ix_notes_subject", "account_id", "subject", "created_at"),
    partial_index("ix_notes_parked", "updated_at", where=IS_PARKED),
)


sentiments = Table(
    "sentiments",
    metadata,
    account_key(),
    Column("subject", String(160), primary_key=True),
    Column("source", String(64), primary_key=True),
    Column("made_by", String(16), primary_key=True, server_default=text("'machine'")),
    Column("parked", Boolean, nullable=False),
    Column("label", String(32), nullable=False),
    Column("score", Float),
    Column("confidence", Float),
    Column("scope", Json, nullable=False),
    Column("original", ExactJson),
    Column("version", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Index("ix_sentiments_label", "account_id", "label", "subject"),
    partial_index("ix_sentiments_parked", "updated_at", where=IS_PARKED),
)


dispositions = Table(
    "dispositions",
    metadata,
    account_key(),
    Column("subject", String(160), primary_key=True),
    Column("parked", Boolean, nullable=False),
    Column("code", String(128), nullable=False),
    Column("label", Text),
    Column("author", Json),
    Column("version", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    partial_index("ix_dispositions_parked", "updated_at", where=IS_PARKED),
)


crm_links = Table(
    "crm_links",
    metadata,
    account_key(),
    Column("subject", String(160), primary_key=True),
    Column("crm", String(64), primary_key=True),
    Column("parked", Boolean, nullable=False),
    Column("objects", Json, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    partial_index("ix_crm_links_parked", "updated_at", where=IS_PARKED),
)
