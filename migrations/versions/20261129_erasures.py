"""Store legal holds, erasures and the tombstones of erased calls; let changes outlive their call.

On SQLite the timeline is copied, because a foreign key cannot be dropped there.
"""

import sqlalchemy as sa
from alembic import op

from app.db.types import Counter, Json, UtcDateTime

revision = "20261129_erasures"
down_revision = "20261129_voicemails"
branch_labels = None
depends_on = None
breaks_older = False

_REFERENCE = "fk_timeline_account_id_call_id"
_COLUMNS = "account_id, seq, call_id, version, type, at, data, mark"
_OF_NO_CALL = (
    "DELETE FROM timeline WHERE NOT EXISTS (SELECT 1 FROM calls WHERE calls.account_id = timeline.account_id "
    "AND calls.call_id = timeline.call_id)"
)


def upgrade() -> None:
    op.create_table(
        "legal_holds",
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("call_id", sa.String(length=40), nullable=False),
        sa.Column("telephony_session_id", sa.String(length=160), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("placed_at", UtcDateTime(), nullable=False),
        sa.Column("placed_by", Json, nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id", "call_id"],
            ["calls.account_id", "calls.call_id"],
            name=op.f("fk_legal_holds_account_id_call_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("account_id", "call_id", name=op.f("pk_legal_holds")),
    )
    op.create_index("ix_legal_holds_session", "legal_holds", ["account_id", "telephony_session_id"])
    op.create_table(
        "erasures",
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("erasure_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.LargeBinary(), nullable=True),
        sa.Column("subject_hash", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("planned", Json, nullable=False),
        sa.Column("erased", Json, nullable=False),
        sa.Column("held", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("spare_held", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("progress", Json, nullable=False),
        sa.Column("ordered_by", Json, nullable=False),
        sa.Column("planned_at", UtcDateTime(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("completed_at", UtcDateTime(), nullable=True),
        sa.Column("due_at", UtcDateTime(), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("lease_owner", sa.String(length=64), nullable=True),
        sa.Column("lease_until", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("account_id", "erasure_id", name=op.f("pk_erasures")),
    )
    condition = sa.text("due_at IS NOT NULL")
    op.create_index(
        "ix_erasures_due", "erasures", ["due_at"], postgresql_where=condition, sqlite_where=condition
    )
    op.create_index("ix_erasures_planned", "erasures", ["account_id", "planned_at", "erasure_id"])
    op.create_table(
        "erased_calls",
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("call_id", sa.String(length=40), nullable=False),
        sa.Column("telephony_session_id", sa.String(length=160), nullable=False),
        sa.Column("session_id", sa.String(length=128), nullable=True),
        sa.Column("erasure_id", sa.String(length=40), nullable=False),
        sa.Column("erased_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "call_id", name=op.f("pk_erased_calls")),
    )
    op.create_table(
        "erased_names",
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("call_id", sa.String(length=40), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "name", "call_id", name=op.f("pk_erased_names")),
    )
    op.create_table(
        "erased_files",
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("path", sa.String(length=512), nullable=False),
        sa.Column("erasure_id", sa.String(length=40), nullable=False),
        sa.Column("media_id", sa.String(length=160), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "path", name=op.f("pk_erased_files")),
    )
    op.create_index("ix_erased_files_due", "erased_files", ["account_id", "erasure_id", "due_at"])
    if op.get_bind().dialect.name == "sqlite":
        _copy_timeline()
    else:
        op.drop_constraint(_REFERENCE, "timeline", type_="foreignkey")


def downgrade() -> None:
    op.execute(_OF_NO_CALL)
    reference = sa.ForeignKeyConstraint(
        ["account_id", "call_id"], ["calls.account_id", "calls.call_id"], name=_REFERENCE, ondelete="CASCADE"
    )
    if op.get_bind().dialect.name == "sqlite":
        _copy_timeline(reference)
    else:
        op.create_foreign_key(
            _REFERENCE, "timeline", "calls", ["account_id", "call_id"], ["account_id", "call_id"],
            ondelete="CASCADE",
        )  # fmt: skip
    for table in ("erased_files", "erased_names", "erased_calls", "erasures", "legal_holds"):
        op.drop_table(table)


def _copy_timeline(*constraints: sa.ForeignKeyConstraint) -> None:
    op.rename_table("timeline", "timeline_before")
    op.drop_index("ix_timeline_call", "timeline_before")
    op.create_table(
        "timeline",
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("seq", Counter, autoincrement=False, nullable=False),
        sa.Column("call_id", sa.String(length=40), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("type", sa.String(length=48), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("data", Json, nullable=False),
        sa.Column("mark", sa.String(12), nullable=True),
        *constraints,
        sa.PrimaryKeyConstraint("account_id", "seq", name=op.f("pk_timeline")),
    )
    # The names are those of our table.
    op.execute(f"INSERT INTO timeline ({_COLUMNS}) SELECT {_COLUMNS} FROM timeline_before")  # noqa: S608
    op.drop_table("timeline_before")
    op.create_index("ix_timeline_call", "timeline", ["account_id", "call_id", "seq"])
