"""The first tables: accounts, the inbox, calls and what is attached to them, background work, keys."""

import sqlalchemy as sa
from alembic import op

from app.db.types import Counter, Json, UtcDateTime

revision = "20261123_first"
down_revision = None
branch_labels = None
depends_on = None

breaks_older = True


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("bound_to", sa.String(length=128), nullable=True),
        sa.Column("timeline_seq", Counter, server_default=sa.text("0"), nullable=False),
        sa.Column("problem", Json, nullable=True),
        sa.Column("added_at", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_accounts")),
    )
    op.create_table(
        "api_keys",
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("scopes", Json, nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("revoked_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("account_id", "key_id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("account_id", "digest", name=op.f("uq_api_keys_account_id_digest")),
    )
    with op.batch_alter_table("api_keys", schema=None) as batch_op:
        batch_op.create_index("ix_api_keys_digest", ["digest"], unique=False)

    op.create_table(
        "calls",
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("call_id", sa.String(length=40), nullable=False),
        sa.Column("telephony_session_id", sa.String(length=160), nullable=False),
        sa.Column("session_id", sa.String(length=128), nullable=True),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("absent_reason", sa.String(length=64), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("changed_seq", Counter, nullable=False),
        sa.Column("direction", sa.String(length=16), nullable=True),
        sa.Column("internal", sa.Boolean(), nullable=True),
        sa.Column("outcome", sa.String(length=32), nullable=False),
        sa.Column("result", sa.String(length=128), nullable=True),
        sa.Column("action", sa.String(length=128), nullable=True),
        sa.Column("caller", Json, nullable=True),
        sa.Column("callee", Json, nullable=True),
        sa.Column("external_number", sa.String(length=128), nullable=True),
        sa.Column("queue_name", sa.String(length=256), nullable=True),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("answered_at", UtcDateTime(), nullable=True),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("duration_seconds", sa.Integer(), nullable=True),
        sa.Column("has_recording", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("parties", Json, nullable=False),
        sa.Column("related", Json, nullable=False),
        sa.Column("conversation_id", sa.String(length=40), nullable=True),
        sa.Column("details", Json, nullable=False),
        sa.Column("facts", Json, nullable=False),
        sa.Column("primary_record_id", sa.String(length=128), nullable=True),
        sa.Column("readiness", Json, nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("end_check_at", UtcDateTime(), nullable=True),
        sa.Column("end_known_at", UtcDateTime(), nullable=True),
        sa.Column("window_closes_at", UtcDateTime(), nullable=True),
        sa.Column("read_at", UtcDateTime(), nullable=True),
        sa.Column("reads", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("record_digest", sa.String(length=64), nullable=True),
        sa.Column("record_unchanged_since", UtcDateTime(), nullable=True),
        sa.Column("insights_at", UtcDateTime(), nullable=True),
        sa.Column("bootstrapped_at", UtcDateTime(), nullable=True),
        sa.Column("bootstrapped_by", sa.String(length=16), nullable=True),
        sa.Column("looks", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_missed_at", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "call_id", name=op.f("pk_calls")),
        sa.UniqueConstraint(
            "account_id", "telephony_session_id", name=op.f("uq_calls_account_id_telephony_session_id")
        ),
    )
    with op.batch_alter_table("calls", schema=None) as batch_op:
        batch_op.create_index("ix_calls_changed", ["account_id", "changed_seq"], unique=False)
        batch_op.create_index(
            "ix_calls_direction", ["account_id", "direction", "started_at", "call_id"], unique=False
        )
        batch_op.create_index(
            "ix_calls_end_check",
            ["end_check_at"],
            unique=False,
            postgresql_where=sa.text("end_check_at IS NOT NULL"),
            sqlite_where=sa.text("end_check_at IS NOT NULL"),
        )
        batch_op.create_index("ix_calls_ended", ["account_id", "ended_at", "call_id"], unique=False)
        batch_op.create_index(
            "ix_calls_insights",
            ["account_id", "insights_at"],
            unique=False,
            postgresql_where=sa.text("insights_at IS NOT NULL"),
            sqlite_where=sa.text("insights_at IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_calls_open_window",
            ["window_closes_at", "account_id"],
            unique=False,
            postgresql_where=sa.text("stage = 'ended'"),
            sqlite_where=sa.text("stage = 'ended'"),
        )
        batch_op.create_index(
            "ix_calls_outcome", ["account_id", "outcome", "started_at", "call_id"], unique=False
        )
        batch_op.create_index(
            "ix_calls_read",
            ["account_id", "read_at"],
            unique=False,
            postgresql_where=sa.text("read_at IS NOT NULL"),
            sqlite_where=sa.text("read_at IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_calls_recorded", ["account_id", "has_recording", "started_at", "call_id"], unique=False
        )
        batch_op.create_index(
            "ix_calls_stage", ["account_id", "stage", "started_at", "call_id"], unique=False
        )
        batch_op.create_index("ix_calls_started", ["account_id", "started_at", "call_id"], unique=False)
        batch_op.create_index("ix_calls_window", ["account_id", "window_closes_at"], unique=False)

    op.create_table(
        "credentials",
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), server_default=sa.text("'own'"), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=True),
        sa.Column("access", Json, nullable=True),
        sa.Column("token", sa.LargeBinary(), nullable=True),
        sa.Column("refused", Json, nullable=True),
        sa.Column("lease_owner", sa.String(length=64), nullable=True),
        sa.Column("lease_until", UtcDateTime(), nullable=True),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "name", name=op.f("pk_credentials")),
    )
    op.create_table(
        "crm_links",
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("subject", sa.String(length=160), nullable=False),
        sa.Column("crm", sa.String(length=64), nullable=False),
        sa.Column("parked", sa.Boolean(), nullable=False),
        sa.Column("objects", Json, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "subject", "crm", name=op.f("pk_crm_links")),
    )
    op.create_table(
        "deliveries",
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("uuid", sa.String(length=128), nullable=False),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("telephony_session_id", sa.String(length=128), nullable=True),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("folded_at", UtcDateTime(), nullable=True),
        sa.Column("fold_note", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("account_id", "uuid", name=op.f("pk_deliveries")),
    )
    with op.batch_alter_table("deliveries", schema=None) as batch_op:
        batch_op.create_index(
            "ix_deliveries_folded",
            ["received_at"],
            unique=False,
            postgresql_where=sa.text("folded_at IS NOT NULL"),
            sqlite_where=sa.text("folded_at IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_deliveries_noted",
            ["account_id", "received_at"],
            unique=False,
            postgresql_where=sa.text("fold_note IS NOT NULL"),
            sqlite_where=sa.text("fold_note IS NOT NULL"),
        )
        batch_op.create_index("ix_deliveries_session", ["account_id", "telephony_session_id"], unique=False)
        batch_op.create_index(
            "ix_deliveries_unfolded",
            ["account_id", "received_at"],
            unique=False,
            postgresql_where=sa.text("folded_at IS NULL"),
            sqlite_where=sa.text("folded_at IS NULL"),
        )

    op.create_table(
        "dispositions",
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("subject", sa.String(length=160), nullable=False),
        sa.Column("parked", sa.Boolean(), nullable=False),
        sa.Column("code", sa.String(length=128), nullable=False),
        sa.Column("label", sa.Text(), nullable=True),
        sa.Column("author", Json, nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "subject", name=op.f("pk_dispositions")),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("request_digest", sa.String(length=64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("headers", Json, nullable=False),
        sa.Column("body", Json, nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "key_id", "key", name=op.f("pk_idempotency_keys")),
    )
    with op.batch_alter_table("idempotency_keys", schema=None) as batch_op:
        batch_op.create_index("ix_idempotency_keys_created", ["created_at"], unique=False)

    op.create_table(
        "notes",
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("note_id", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=160), nullable=False),
        sa.Column("parked", sa.Boolean(), nullable=False),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("external_id", sa.String(length=256), nullable=True),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("format", sa.String(length=16), nullable=False),
        sa.Column("author", Json, nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "note_id", name=op.f("pk_notes")),
        sa.UniqueConstraint(
            "account_id",
            "subject",
            "source",
            "external_id",
            name=op.f("uq_notes_account_id_subject_source_external_id"),
        ),
    )
    with op.batch_alter_table("notes", schema=None) as batch_op:
        batch_op.create_index("ix_notes_subject", ["account_id", "subject", "created_at"], unique=False)

    op.create_table(
        "poll_targets",
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("target", sa.String(length=128), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=True),
        sa.Column("lease_owner", sa.String(length=64), nullable=True),
        sa.Column("lease_until", UtcDateTime(), nullable=True),
        sa.Column("memory", Json, nullable=True),
        sa.Column("visibility", Json, nullable=True),
        sa.Column("last_poll_at", UtcDateTime(), nullable=True),
        sa.Column("problem", Json, nullable=True),
        sa.PrimaryKeyConstraint("account_id", "target", name=op.f("pk_poll_targets")),
    )
    with op.batch_alter_table("poll_targets", schema=None) as batch_op:
        batch_op.create_index("ix_poll_targets_due", ["due_at"], unique=False)

    op.create_table(
        "rate_buckets",
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("bucket", sa.String(length=128), nullable=False),
        sa.Column("state", Json, nullable=False),
        sa.Column("requests", Counter, server_default=sa.text("0"), nullable=False),
        sa.Column("refused", Counter, server_default=sa.text("0"), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "bucket", name=op.f("pk_rate_buckets")),
    )
    op.create_table(
        "rc_cache",
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("fetched_at", UtcDateTime(), nullable=True),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("lease_until", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("account_id", "key", name=op.f("pk_rc_cache")),
    )
    with op.batch_alter_table("rc_cache", schema=None) as batch_op:
        batch_op.create_index("ix_rc_cache_expires", ["account_id", "expires_at"], unique=False)

    op.create_table(
        "sentiments",
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("subject", sa.String(length=160), nullable=False),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("parked", sa.Boolean(), nullable=False),
        sa.Column("label", sa.String(length=32), nullable=False),
        sa.Column("score", sa.Float(), nullable=True),
        sa.Column("confidence", sa.Float(), nullable=True),
        sa.Column("scope", Json, nullable=False),
        sa.Column("original", Json, nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "subject", "source", name=op.f("pk_sentiments")),
    )
    with op.batch_alter_table("sentiments", schema=None) as batch_op:
        batch_op.create_index("ix_sentiments_label", ["account_id", "label", "subject"], unique=False)

    op.create_table(
        "subscriptions",
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("subscription_id", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=64), server_default=sa.text("'own'"), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("filters", Json, nullable=False),
        sa.Column("disabled_filters", Json, nullable=True),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=True),
        sa.Column("renew_at", UtcDateTime(), nullable=True),
        sa.Column("checked_at", UtcDateTime(), nullable=False),
        sa.Column("token_digest", sa.String(length=64), nullable=True),
        sa.Column("refused_since", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("account_id", "subscription_id", name=op.f("pk_subscriptions")),
    )
    op.create_table(
        "sweeps",
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("sweep_id", sa.String(length=40), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("from_at", UtcDateTime(), nullable=False),
        sa.Column("to_at", UtcDateTime(), nullable=True),
        sa.Column("cursor_at", UtcDateTime(), nullable=True),
        sa.Column("span_seconds", sa.Float(), nullable=True),
        sa.Column("passes", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=True),
        sa.Column("done_at", UtcDateTime(), nullable=True),
        sa.Column("asked_at", UtcDateTime(), nullable=True),
        sa.Column("records", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("found", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("problem", Json, nullable=True),
        sa.Column("lease_owner", sa.String(length=64), nullable=True),
        sa.Column("lease_until", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "sweep_id", name=op.f("pk_sweeps")),
    )
    with op.batch_alter_table("sweeps", schema=None) as batch_op:
        batch_op.create_index(
            "ix_sweeps_due",
            ["due_at"],
            unique=False,
            postgresql_where=sa.text("due_at IS NOT NULL"),
            sqlite_where=sa.text("due_at IS NOT NULL"),
        )
        batch_op.create_index("ix_sweeps_from", ["account_id", "from_at"], unique=False)

    op.create_table(
        "work",
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("kind", sa.String(length=96), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=True),
        sa.Column("lease_owner", sa.String(length=64), nullable=True),
        sa.Column("lease_until", UtcDateTime(), nullable=True),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("state", Json, nullable=True),
        sa.PrimaryKeyConstraint("account_id", "kind", name=op.f("pk_work")),
    )
    with op.batch_alter_table("work", schema=None) as batch_op:
        batch_op.create_index("ix_work_due", ["kind", "due_at"], unique=False)

    op.create_table(
        "call_aliases",
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("alias", sa.String(length=160), nullable=False),
        sa.Column("call_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "call_id"],
            ["calls.account_id", "calls.call_id"],
            name=op.f("fk_call_aliases_account_id_call_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", "alias", "call_id", name=op.f("pk_call_aliases")),
    )
    with op.batch_alter_table("call_aliases", schema=None) as batch_op:
        batch_op.create_index("ix_call_aliases_call", ["account_id", "call_id"], unique=False)

    op.create_table(
        "call_links",
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("call_id", sa.String(length=40), nullable=False),
        sa.Column("other", sa.String(length=160), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("session_id", sa.String(length=128), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id", "call_id"],
            ["calls.account_id", "calls.call_id"],
            name=op.f("fk_call_links_account_id_call_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", "call_id", "other", "kind", name=op.f("pk_call_links")),
    )
    with op.batch_alter_table("call_links", schema=None) as batch_op:
        batch_op.create_index("ix_call_links_other", ["account_id", "other"], unique=False)

    op.create_table(
        "call_parties",
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("call_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("value", sa.String(length=128), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "call_id"],
            ["calls.account_id", "calls.call_id"],
            name=op.f("fk_call_parties_account_id_call_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", "call_id", "kind", "value", name=op.f("pk_call_parties")),
    )
    with op.batch_alter_table("call_parties", schema=None) as batch_op:
        batch_op.create_index(
            "ix_call_parties_value", ["account_id", "kind", "value", "started_at", "call_id"], unique=False
        )

    op.create_table(
        "call_records",
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("call_id", sa.String(length=40), nullable=False),
        sa.Column("record_id", sa.String(length=128), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("detailed", sa.Boolean(), nullable=False),
        sa.Column("fetched_at", UtcDateTime(), nullable=False),
        sa.Column("last_modified_at", UtcDateTime(), nullable=True),
        sa.Column("raw", Json, nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "call_id"],
            ["calls.account_id", "calls.call_id"],
            name=op.f("fk_call_records_account_id_call_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", "call_id", "record_id", name=op.f("pk_call_records")),
    )
    with op.batch_alter_table("call_records", schema=None) as batch_op:
        batch_op.create_index("ix_call_records_record", ["account_id", "record_id"], unique=False)

    op.create_table(
        "insights",
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("source_id", sa.String(length=160), nullable=False),
        sa.Column("call_id", sa.String(length=40), nullable=True),
        sa.Column("telephony_session_id", sa.String(length=160), nullable=True),
        sa.Column("recording_id", sa.String(length=128), nullable=True),
        sa.Column("last_modified_at", UtcDateTime(), nullable=True),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("fetched_at", UtcDateTime(), nullable=False),
        sa.Column("raw", Json, nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "call_id"],
            ["calls.account_id", "calls.call_id"],
            name=op.f("fk_insights_account_id_call_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", "source_id", name=op.f("pk_insights")),
    )
    with op.batch_alter_table("insights", schema=None) as batch_op:
        batch_op.create_index("ix_insights_call", ["account_id", "call_id"], unique=False)
        batch_op.create_index(
            "ix_insights_parked",
            ["account_id", "telephony_session_id"],
            unique=False,
            postgresql_where=sa.text("call_id IS NULL"),
            sqlite_where=sa.text("call_id IS NULL"),
        )

    op.create_table(
        "recordings",
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("recording_id", sa.String(length=128), nullable=False),
        sa.Column("call_id", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=True),
        sa.Column("content_uri", sa.Text(), nullable=True),
        sa.Column("content_type", sa.String(length=128), nullable=True),
        sa.Column("duration_seconds", sa.Float(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=True),
        sa.Column("problem", sa.String(length=256), nullable=True),
        sa.Column("archive_path", sa.Text(), nullable=True),
        sa.Column("archive_bytes", Counter, nullable=True),
        sa.Column("archive_sha256", sa.String(length=64), nullable=True),
        sa.Column("archived_at", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "call_id"],
            ["calls.account_id", "calls.call_id"],
            name=op.f("fk_recordings_account_id_call_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", "recording_id", "call_id", name=op.f("pk_recordings")),
    )
    with op.batch_alter_table("recordings", schema=None) as batch_op:
        batch_op.create_index("ix_recordings_call", ["account_id", "call_id"], unique=False)
        batch_op.create_index(
            "ix_recordings_due",
            ["account_id", "due_at"],
            unique=False,
            postgresql_where=sa.text("due_at IS NOT NULL"),
            sqlite_where=sa.text("due_at IS NOT NULL"),
        )

    op.create_table(
        "timeline",
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("seq", Counter, autoincrement=False, nullable=False),
        sa.Column("call_id", sa.String(length=40), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("type", sa.String(length=48), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("data", Json, nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "call_id"],
            ["calls.account_id", "calls.call_id"],
            name=op.f("fk_timeline_account_id_call_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", "seq", name=op.f("pk_timeline")),
    )
    with op.batch_alter_table("timeline", schema=None) as batch_op:
        batch_op.create_index("ix_timeline_call", ["account_id", "call_id", "seq"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("timeline", schema=None) as batch_op:
        batch_op.drop_index("ix_timeline_call")

    op.drop_table("timeline")
    with op.batch_alter_table("recordings", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_recordings_due",
            postgresql_where=sa.text("due_at IS NOT NULL"),
            sqlite_where=sa.text("due_at IS NOT NULL"),
        )
        batch_op.drop_index("ix_recordings_call")

    op.drop_table("recordings")
    with op.batch_alter_table("insights", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_insights_parked",
            postgresql_where=sa.text("call_id IS NULL"),
            sqlite_where=sa.text("call_id IS NULL"),
        )
        batch_op.drop_index("ix_insights_call")

    op.drop_table("insights")
    with op.batch_alter_table("call_records", schema=None) as batch_op:
        batch_op.drop_index("ix_call_records_record")

    op.drop_table("call_records")
    with op.batch_alter_table("call_parties", schema=None) as batch_op:
        batch_op.drop_index("ix_call_parties_value")

    op.drop_table("call_parties")
    with op.batch_alter_table("call_links", schema=None) as batch_op:
        batch_op.drop_index("ix_call_links_other")

    op.drop_table("call_links")
    with op.batch_alter_table("call_aliases", schema=None) as batch_op:
        batch_op.drop_index("ix_call_aliases_call")

    op.drop_table("call_aliases")
    with op.batch_alter_table("work", schema=None) as batch_op:
        batch_op.drop_index("ix_work_due")

    op.drop_table("work")
    with op.batch_alter_table("sweeps", schema=None) as batch_op:
        batch_op.drop_index("ix_sweeps_from")
        batch_op.drop_index(
            "ix_sweeps_due",
            postgresql_where=sa.text("due_at IS NOT NULL"),
            sqlite_where=sa.text("due_at IS NOT NULL"),
        )

    op.drop_table("sweeps")
    op.drop_table("subscriptions")
    with op.batch_alter_table("sentiments", schema=None) as batch_op:
        batch_op.drop_index("ix_sentiments_label")

    op.drop_table("sentiments")
    with op.batch_alter_table("rc_cache", schema=None) as batch_op:
        batch_op.drop_index("ix_rc_cache_expires")

    op.drop_table("rc_cache")
    op.drop_table("rate_buckets")
    with op.batch_alter_table("poll_targets", schema=None) as batch_op:
        batch_op.drop_index("ix_poll_targets_due")

    op.drop_table("poll_targets")
    with op.batch_alter_table("notes", schema=None) as batch_op:
        batch_op.drop_index("ix_notes_subject")

    op.drop_table("notes")
    with op.batch_alter_table("idempotency_keys", schema=None) as batch_op:
        batch_op.drop_index("ix_idempotency_keys_created")

    op.drop_table("idempotency_keys")
    op.drop_table("dispositions")
    with op.batch_alter_table("deliveries", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_deliveries_unfolded",
            postgresql_where=sa.text("folded_at IS NULL"),
            sqlite_where=sa.text("folded_at IS NULL"),
        )
        batch_op.drop_index("ix_deliveries_session")
        batch_op.drop_index(
            "ix_deliveries_noted",
            postgresql_where=sa.text("fold_note IS NOT NULL"),
            sqlite_where=sa.text("fold_note IS NOT NULL"),
        )
        batch_op.drop_index(
            "ix_deliveries_folded",
            postgresql_where=sa.text("folded_at IS NOT NULL"),
            sqlite_where=sa.text("folded_at IS NOT NULL"),
        )

    op.drop_table("deliveries")
    op.drop_table("crm_links")
    op.drop_table("credentials")
    with op.batch_alter_table("calls", schema=None) as batch_op:
        batch_op.drop_index("ix_calls_window")
        batch_op.drop_index("ix_calls_started")
        batch_op.drop_index("ix_calls_stage")
        batch_op.drop_index("ix_calls_recorded")
        batch_op.drop_index(
            "ix_calls_read",
            postgresql_where=sa.text("read_at IS NOT NULL"),
            sqlite_where=sa.text("read_at IS NOT NULL"),
        )
        batch_op.drop_index("ix_calls_outcome")
        batch_op.drop_index(
            "ix_calls_open_window",
            postgresql_where=sa.text("stage = 'ended'"),
            sqlite_where=sa.text("stage = 'ended'"),
        )
        batch_op.drop_index(
            "ix_calls_insights",
            postgresql_where=sa.text("insights_at IS NOT NULL"),
            sqlite_where=sa.text("insights_at IS NOT NULL"),
        )
        batch_op.drop_index("ix_calls_ended")
        batch_op.drop_index(
            "ix_calls_end_check",
            postgresql_where=sa.text("end_check_at IS NOT NULL"),
            sqlite_where=sa.text("end_check_at IS NOT NULL"),
        )
        batch_op.drop_index("ix_calls_direction")
        batch_op.drop_index("ix_calls_changed")

    op.drop_table("calls")
    with op.batch_alter_table("api_keys", schema=None) as batch_op:
        batch_op.drop_index("ix_api_keys_digest")

    op.drop_table("api_keys")
    op.drop_table("accounts")
