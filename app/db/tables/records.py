"""What RingCentral has about calls: records, recordings, voicemails, insights, shared responses."""

from sqlalchemy import Boolean, Column, Float, Index, Integer, LargeBinary, String, Table, Text, text

from app.db.tables.base import account_key, call_reference, metadata, partial_index
from app.db.types import Counter, Json, UtcDateTime
from app.ids import MAX_OUTSIDE_ID
from app.values import widths

call_records = Table(
    "call_records",
    metadata,
    account_key(),
    Column("call_id", String(40), primary_key=True),
    Column("record_id", String(MAX_OUTSIDE_ID), primary_key=True),
    Column("source", String(16), nullable=False),  # active-calls | call-log
    Column("detailed", Boolean, nullable=False),
    Column("fetched_at", UtcDateTime, nullable=False),
    Column("last_modified_at", UtcDateTime),
    Column("raw", Json, nullable=False),
    call_reference(),
    Index("ix_call_records_record", "account_id", "record_id"),
)


recordings = Table(
    "recordings",
    metadata,
    account_key(),
    Column("recording_id", String(MAX_OUTSIDE_ID), primary_key=True),
    Column("call_id", String(40), primary_key=True),  # linked calls may name the same recording
    Column("state", String(16), nullable=False),  # announced | pending | ready | expired | none
    Column("type", String(widths.RECORDING_TYPE)),
    Column("content_uri", Text),  # RingCentral's, data from outside
    Column("content_type", String(widths.CONTENT_TYPE)),
    Column("duration_seconds", Float),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("due_at", UtcDateTime),  # next check; if ready: when to archive it
    Column("problem", String(256)),  # why the last attempt failed
    Column("archive_path", Text),
    Column("archive_bytes", Counter),
    Column("archive_sha256", String(64)),
    Column("archived_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    call_reference(),
    Index("ix_recordings_call", "account_id", "call_id"),
    partial_index("ix_recordings_due", "account_id", "due_at", where="due_at IS NOT NULL"),
    partial_index("ix_recordings_archived", "archived_at", where="archive_path IS NOT NULL"),
)


voicemails = Table(
    "voicemails",
    metadata,
    account_key(),
    Column("voicemail_id", String(MAX_OUTSIDE_ID), primary_key=True),  # of the message
    Column("call_id", String(40), primary_key=True),  # linked calls may name the same voicemail
    Column("extension_id", String(MAX_OUTSIDE_ID), nullable=False),  # whose mailbox it is in
    Column("state", String(16), nullable=False),  # pending | ready | none | expired | no-permission
    Column("content_uri", Text),  # RingCentral's, data from outside
    Column("content_type", String(widths.CONTENT_TYPE)),
    Column("duration_seconds", Float),
    Column("transcript", Text),
    Column("transcript_status", String(widths.TRANSCRIPT_STATUS)),  # RingCentral's word
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("due_at", UtcDateTime),  # next check; if ready: when to archive it
    Column("problem", String(256)),  # why the last attempt failed
    Column("archive_path", Text),
    Column("archive_bytes", Counter),
    Column("archive_sha256", String(64)),
    Column("archived_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    call_reference(),
    Index("ix_voicemails_call", "account_id", "call_id"),
    partial_index("ix_voicemails_due", "account_id", "due_at", where="due_at IS NOT NULL"),
    partial_index("ix_voicemails_archived", "archived_at", where="archive_path IS NOT NULL"),
)


insights = Table(
    "insights",
    metadata,
    account_key(),
    Column("source_id", String(160), primary_key=True),  # the recording's id, else the session's
    Column("call_id", String(40)),  # null: waits for its call
    Column("telephony_session_id", String(160)),
    Column("recording_id", String(MAX_OUTSIDE_ID)),
    Column("last_modified_at", UtcDateTime),
    Column("source", String(16), nullable=False),  # webhook | insights: where it came from
    Column("fetched_at", UtcDateTime, nullable=False),
    Column("raw", Json, nullable=False),
    call_reference(),
    Index("ix_insights_call", "account_id", "call_id"),
    partial_index("ix_insights_parked", "account_id", "telephony_session_id", where="call_id IS NULL"),
)


rc_cache = Table(
    "rc_cache",
    metadata,
    account_key(),
    Column("key", String(64), primary_key=True),  # SHA-256 of the request
    Column("body", LargeBinary),  # packed JSON, unchanged; null while the first response is on its way
    Column("fetched_at", UtcDateTime),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("lease_until", UtcDateTime),  # a request is running: wait for its response
    Index("ix_rc_cache_expires", "account_id", "expires_at"),
)


audio_links = Table(
    "audio_links",
    metadata,
    account_key(),
    Column("link_id", String(40), primary_key=True),
    Column("call_id", String(40), nullable=False),
    Column("kind", String(16), nullable=False),  # recording | voicemail
    Column("media_id", String(MAX_OUTSIDE_ID), nullable=False),
    Column("key_id", String(40), nullable=False),  # the API key that made it
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("revoked_at", UtcDateTime),
    Column("uses", Integer, nullable=False, server_default=text("0")),
    Column("last_used_at", UtcDateTime),
    call_reference(),
    # Not unique: a unique key has the account in it, which no address names.
    Index("ix_audio_links_link", "link_id"),
    Index("ix_audio_links_call", "account_id", "call_id"),
    Index("ix_audio_links_media", "account_id", "kind", "media_id", "created_at"),
)
