"""The whole data model on one page.

Every table carries `account_id` in its primary key and in every unique key, so that a PostgreSQL that is
outgrown can be distributed by account without a new schema; a test holds this. Times are UTC.

| table | one row is |
| --- | --- |
| accounts | a RingCentral account; its row is the lock under which its calls change, and its timeline counter |
| credentials | one user's way into the account, how far it reaches, and the token that all replicas share (encrypted) |
| subscriptions | a webhook subscription that we made or adopted |
| deliveries | one POST of RingCentral as it came, known by its `uuid`: the inbox |
| calls | a telephony session: what was folded from deliveries and what the sources said |
| call_aliases | another name of a call (`sessionId`); one name may mean several calls |
| call_parties | who was in a call: the way from an extension or a number to calls |
| call_records | one call-log record of a call, raw and decoded |
| recordings | a recording as one call names it: whether it can be heard yet, where it is kept |
| call_links | what a call says of another session that belongs with it; both calls show it |
| insights | what RingCentral's conversation analysis says of one recording, as it came; without a call while none is known |
| rc_cache | an answer of RingCentral's that readers may share for some seconds |
| notes, sentiments, dispositions, crm_links | what people and CRMs attached; `subject` is the call's id, or the name under which it waits for its call |
| timeline | the outbox: every visible change, in gap-free order per account |
| poll_targets | whose active calls are polled, when, and by whom just now |
| rate_buckets | one rate-limit bucket of RingCentral's, shared by all replicas |
| sweeps | a range of time whose calls are looked for in the Call Log: a gap of the deliveries, a backfill, the regular look back |
| work | due rows of other kinds of background work |
| api_keys, idempotency_keys | who may call us; which requests were already carried out |
"""

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from app.db.types import Counter, ExactJson, Json, UtcDateTime
from app.ids import MAX_OUTSIDE_ID
from app.values import widths

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _account() -> Column[str]:
    return Column("account_id", String(MAX_OUTSIDE_ID), primary_key=True)


def _call_reference() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["account_id", "call_id"], ["calls.account_id", "calls.call_id"], ondelete="CASCADE"
    )


accounts = Table(
    "accounts",
    metadata,
    _account(),
    Column("bound_to", String(128)),  # of "~" alone: the account that it turned out to be
    Column("timeline_seq", Counter, nullable=False, server_default=text("0")),
    Column("added_at", UtcDateTime),  # when somebody first gave credentials for it, which may be gone since
    Column("created_at", UtcDateTime, nullable=False),
)

credentials = Table(
    "credentials",
    metadata,
    _account(),
    Column("name", String(64), primary_key=True),
    Column(
        "kind", String(16), nullable=False, server_default=text("'own'")
    ),  # own (environment) | jwt | oauth
    Column("secret", LargeBinary),  # encrypted: client id and secret, JWT or refresh token
    Column("access", Json),  # how far it reaches and what is in its way: see enrichment.connections.Access
    Column("token", LargeBinary),  # encrypted
    Column("refused", Json),
    Column("lease_owner", String(64)),
    Column("lease_until", UtcDateTime),
    Column("updated_at", UtcDateTime, nullable=False),
)

subscriptions = Table(
    "subscriptions",
    metadata,
    _account(),
    Column("subscription_id", String(MAX_OUTSIDE_ID), primary_key=True),
    Column(
        "name", String(64), nullable=False, server_default=text("'own'")
    ),  # of the credentials that keep it
    Column("address", Text, nullable=False),
    Column("filters", Json, nullable=False),
    Column("disabled_filters", Json),
    Column("status", String(widths.SUBSCRIPTION_STATUS), nullable=False),
    Column("expires_at", UtcDateTime),
    Column("renew_at", UtcDateTime),
    Column("checked_at", UtcDateTime, nullable=False),
    Column("token_digest", String(64)),  # of the secret that it was made with; null: adopted, not known
    Column("refused_since", UtcDateTime),  # its deliveries carry another secret than ours
)

deliveries = Table(
    "deliveries",
    metadata,
    _account(),
    Column("uuid", String(128), primary_key=True),
    Column("received_at", UtcDateTime, nullable=False),
    Column("telephony_session_id", String(128)),
    Column("raw", LargeBinary, nullable=False),
    Column("folded_at", UtcDateTime),
    Column("fold_note", Text),  # why nothing came of it; null when it became part of a call
    Index(
        "ix_deliveries_unfolded",
        "account_id",
        "received_at",
        postgresql_where=text("folded_at IS NULL"),
        sqlite_where=text("folded_at IS NULL"),
    ),
    Index(
        "ix_deliveries_noted",
        "account_id",
        "received_at",
        postgresql_where=text("fold_note IS NOT NULL"),
        sqlite_where=text("fold_note IS NOT NULL"),
    ),
    Index(
        "ix_deliveries_folded",
        "received_at",
        postgresql_where=text("folded_at IS NOT NULL"),
        sqlite_where=text("folded_at IS NOT NULL"),
    ),
    Index("ix_deliveries_session", "account_id", "telephony_session_id"),
)

calls = Table(
    "calls",
    metadata,
    _account(),
    Column("call_id", String(40), primary_key=True),
    Column("telephony_session_id", String(160), nullable=False),
    Column("session_id", String(MAX_OUTSIDE_ID)),
    Column("stage", String(16), nullable=False),
    Column("absent_reason", String(64)),
    Column("version", Integer, nullable=False),
    Column("changed_seq", Counter, nullable=False),  # of the timeline: when it last changed
    Column("direction", String(widths.DIRECTION)),
    Column("internal", Boolean),
    Column("outcome", String(32), nullable=False),
    Column("result", String(widths.RESULT)),
    Column("action", String(widths.ACTION)),
    Column("caller", Json),  # `from` of the API
    Column("callee", Json),  # `to` of the API
    Column("external_number", String(widths.PHONE_NUMBER)),
    Column("queue_name", String(widths.TEXT)),
    Column("started_at", UtcDateTime, nullable=False),  # for order: the first thing known of the call
    Column("answered_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
    Column("duration_seconds", Integer),
    Column("has_recording", Boolean, nullable=False, server_default=text("false")),
    Column("parties", Json, nullable=False),
    Column("related", Json, nullable=False),  # sessions that belong with it, by its own word or by theirs
    Column("conversation_id", String(40)),  # shared by all calls that links join, directly or through others
    Column("details", Json, nullable=False),  # ring, talk and hold seconds and the like
    Column("facts", Json, nullable=False),  # what events said, as a set; see webhooks.parties
    Column("primary_record_id", String(MAX_OUTSIDE_ID)),
    Column("readiness", Json, nullable=False),
    Column("source", String(16), nullable=False),  # what told us of the call first
    Column("end_check_at", UtcDateTime),  # due: look whether it is over
    Column("ask_at", UtcDateTime),  # of a live call, due: ask RingCentral whether it goes on; not before
    Column(
        "state_known_at", UtcDateTime
    ),  # that it goes on, or is over, was so then: by RingCentral, by an event
    Column("end_known_at", UtcDateTime),  # when we worked out that it was over
    Column("window_closes_at", UtcDateTime),  # set at the end: Active Calls shows it until then
    Column("read_at", UtcDateTime),  # due: read it in the Call Log
    Column("reads", Integer, nullable=False, server_default=text("0")),
    Column("record_digest", String(64)),  # of the last Detailed reading, to see whether it still changes
    Column("record_unchanged_since", UtcDateTime),
    Column("insights_at", UtcDateTime),  # due: look for insights
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
    Index("ix_calls_direction", "account_id", "direction", "started_at", "call_id"),
    Index(
        "ix_calls_end_check",
        "end_check_at",
        postgresql_where=text("end_check_at IS NOT NULL"),
        sqlite_where=text("end_check_at IS NOT NULL"),
    ),
    Index("ix_calls_recorded", "account_id", "has_recording", "started_at", "call_id"),
    Index(
        "ix_calls_insights",
        "account_id",
        "insights_at",
        postgresql_where=text("insights_at IS NOT NULL"),
        sqlite_where=text("insights_at IS NOT NULL"),
    ),
    Index("ix_calls_window", "account_id", "window_closes_at"),
    Index(
        "ix_calls_open_window",
        "window_closes_at",
        "account_id",
        postgresql_where=text("stage = 'ended'"),
        sqlite_where=text("stage = 'ended'"),
    ),
    Index(
        "ix_calls_read",
        "account_id",
        "read_at",
        postgresql_where=text("read_at IS NOT NULL"),
        sqlite_where=text("read_at IS NOT NULL"),
    ),
)

call_aliases = Table(
    "call_aliases",
    metadata,
    _account(),
    Column("alias", String(160), primary_key=True),
    Column("call_id", String(40), primary_key=True),
    _call_reference(),
    Index("ix_call_aliases_call", "account_id", "call_id"),
)

call_parties = Table(
    "call_parties",
    metadata,
    _account(),
    Column("call_id", String(40), primary_key=True),
    Column("kind", String(16), primary_key=True),  # extension | number
    Column("value", String(widths.PHONE_NUMBER), primary_key=True),
    Column("started_at", UtcDateTime, nullable=False),
    _call_reference(),
    Index("ix_call_parties_value", "account_id", "kind", "value", "started_at", "call_id"),
)

call_records = Table(
    "call_records",
    metadata,
    _account(),
    Column("call_id", String(40), primary_key=True),
    Column("record_id", String(MAX_OUTSIDE_ID), primary_key=True),
    Column("source", String(16), nullable=False),  # active-calls | call-log
    Column("detailed", Boolean, nullable=False),
    Column("fetched_at", UtcDateTime, nullable=False),
    Column("last_modified_at", UtcDateTime),
    Column("raw", Json, nullable=False),
    _call_reference(),
    Index("ix_call_records_record", "account_id", "record_id"),
)

recordings = Table(
    "recordings",
    metadata,
    _account(),
    Column("recording_id", String(MAX_OUTSIDE_ID), primary_key=True),
    Column("call_id", String(40), primary_key=True),  # linked calls may name the same recording
    Column("state", String(16), nullable=False),  # announced | pending | ready | expired | none
    Column("type", String(widths.RECORDING_TYPE)),
    Column("content_uri", Text),  # RingCentral's, data from outside
    Column("content_type", String(widths.CONTENT_TYPE)),
    Column("duration_seconds", Float),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("due_at", UtcDateTime),  # next look; of a ready one: when to archive it
    Column("problem", String(256)),  # why the last attempt failed
    Column("archive_path", Text),
    Column("archive_bytes", Counter),
    Column("archive_sha256", String(64)),
    Column("archived_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    _call_reference(),
    Index("ix_recordings_call", "account_id", "call_id"),
    Index(
        "ix_recordings_due",
        "account_id",
        "due_at",
        postgresql_where=text("due_at IS NOT NULL"),
        sqlite_where=text("due_at IS NOT NULL"),
    ),
)

call_links = Table(
    "call_links",
    metadata,
    _account(),
    Column("call_id", String(40), primary_key=True),  # who says it
    Column("other", String(160), primary_key=True),  # of which session, whether we know its call or not
    Column("kind", String(32), primary_key=True),
    Column("session_id", String(MAX_OUTSIDE_ID)),  # the other's, as far as it was told
    _call_reference(),
    Index("ix_call_links_other", "account_id", "other"),
)

insights = Table(
    "insights",
    metadata,
    _account(),
    Column("source_id", String(160), primary_key=True),  # the recording's id, else the session's
    Column("call_id", String(40)),  # null: waits for its call
    Column("telephony_session_id", String(160)),
    Column("recording_id", String(MAX_OUTSIDE_ID)),
    Column("last_modified_at", UtcDateTime),
    Column("source", String(16), nullable=False),  # webhook | insights: who gave it to us
    Column("fetched_at", UtcDateTime, nullable=False),
    Column("raw", Json, nullable=False),
    _call_reference(),
    Index("ix_insights_call", "account_id", "call_id"),
    Index(
        "ix_insights_parked",
        "account_id",
        "telephony_session_id",
        postgresql_where=text("call_id IS NULL"),
        sqlite_where=text("call_id IS NULL"),
    ),
)

rc_cache = Table(
    "rc_cache",
    metadata,
    _account(),
    Column("key", String(64), primary_key=True),  # SHA-256 of what was asked
    Column("body", LargeBinary),  # packed JSON, untouched; null while the first answer is on its way
    Column("fetched_at", UtcDateTime),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("lease_until", UtcDateTime),  # somebody is asking: wait for that answer
    Index("ix_rc_cache_expires", "account_id", "expires_at"),
)

notes = Table(
    "notes",
    metadata,
    _account(),
    Column("note_id", String(40), primary_key=True),
    Column("subject", String(160), nullable=False),
    Column("parked", Boolean, nullable=False),
    Column("source", String(64), nullable=False),
    Column("external_id", String(256)),
    Column("title", Text),
    Column("text", Text, nullable=False),
    Column("format", String(16), nullable=False),
    Column("author", Json),
    Column("version", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    UniqueConstraint("account_id", "subject", "source", "external_id"),
    Index("ix_notes_subject", "account_id", "subject", "created_at"),
)

sentiments = Table(
    "sentiments",
    metadata,
    _account(),
    Column("subject", String(160), primary_key=True),
    Column("source", String(64), primary_key=True),
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
)

dispositions = Table(
    "dispositions",
    metadata,
    _account(),
    Column("subject", String(160), primary_key=True),
    Column("parked", Boolean, nullable=False),
    Column("code", String(128), nullable=False),
    Column("label", Text),
    Column("author", Json),
    Column("version", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

crm_links = Table(
    "crm_links",
    metadata,
    _account(),
    Column("subject", String(160), primary_key=True),
    Column("crm", String(64), primary_key=True),
    Column("parked", Boolean, nullable=False),
    Column("objects", Json, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

timeline = Table(
    "timeline",
    metadata,
    _account(),
    Column("seq", Counter, primary_key=True, autoincrement=False),
    Column("call_id", String(40), nullable=False),
    Column("version", Integer, nullable=False),
    Column("type", String(48), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("data", Json, nullable=False),
    Column("mark", String(12)),  # random, one for each transaction: tells it from one of another history
    _call_reference(),
    Index("ix_timeline_call", "account_id", "call_id", "seq"),
)

poll_targets = Table(
    "poll_targets",
    metadata,
    _account(),
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
    _account(),
    Column("bucket", String(128), primary_key=True),  # user, app and group
    Column("state", Json, nullable=False),
    Column(
        "requests", Counter, nullable=False, server_default=text("0")
    ),  # answered or given up, of all time
    Column("refused", Counter, nullable=False, server_default=text("0")),  # of them: 429
    Column("updated_at", UtcDateTime, nullable=False),
)

sweeps = Table(
    "sweeps",
    metadata,
    _account(),
    Column("sweep_id", String(40), primary_key=True),
    Column("reason", String(32), nullable=False),  # regular | backfill | why no event could come
    Column("detail", Text),
    Column("from_at", UtcDateTime, nullable=False),
    Column("to_at", UtcDateTime),  # null: it still lasts
    Column("cursor_at", UtcDateTime),  # calls that started before this were looked for
    Column("span_seconds", Float),  # how much of it one reading takes, as learnt
    Column("passes", Integer, nullable=False, server_default=text("0")),
    Column("due_at", UtcDateTime),  # when to read on; null: not now, or a command does it
    Column("done_at", UtcDateTime),
    Column("asked_at", UtcDateTime),  # when the calls that went on before were asked after
    Column("records", Integer, nullable=False, server_default=text("0")),  # read
    Column("found", Integer, nullable=False, server_default=text("0")),  # calls that no event had told of
    Column("problem", Json),  # why it does not get on
    Column("lease_owner", String(64)),
    Column("lease_until", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Index("ix_sweeps_from", "account_id", "from_at"),
    Index(
        "ix_sweeps_due",
        "due_at",
        postgresql_where=text("due_at IS NOT NULL"),
        sqlite_where=text("due_at IS NOT NULL"),
    ),
)

work = Table(
    "work",
    metadata,
    _account(),
    Column("kind", String(96), primary_key=True),
    Column("due_at", UtcDateTime),  # no replica's turn before
    Column("lease_owner", String(64)),
    Column("lease_until", UtcDateTime),
    Column("failures", Integer, nullable=False, server_default=text("0")),
    Column("state", Json),
    Index("ix_work_due", "kind", "due_at"),
)

api_keys = Table(
    "api_keys",
    metadata,
    _account(),
    Column("key_id", String(40), primary_key=True),
    Column("name", String(128), nullable=False),
    Column("digest", String(64), nullable=False),  # SHA-256 of a key with 256 random bits
    Column("scopes", Json, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("revoked_at", UtcDateTime),
    UniqueConstraint("account_id", "digest"),
    Index("ix_api_keys_digest", "digest"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    _account(),
    Column("key_id", String(40), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("request_digest", String(64), nullable=False),
    Column("status", Integer, nullable=False),
    Column("headers", Json, nullable=False),
    Column("body", Json, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Index("ix_idempotency_keys_created", "created_at"),
)
