"""Partition deliveries by day on PostgreSQL. The table becomes the partition of what was there before.

Nothing is read or copied: what the table needs to be a partition was prepared by the migrations before. The
service makes a partition for each day and drops those that are old enough; see `app/retention/partitions.py`.
"""

from alembic import op
from sqlalchemy import text

revision = "20261129_delivery_partitions"
down_revision = "20261129_delivery_key"
branch_labels = None
depends_on = None
breaks_older = False

_INDEXES = {
    "unfolded": "(account_id, received_at) WHERE folded_at IS NULL",
    "noted": "(account_id, received_at) WHERE fold_note IS NOT NULL",
    "folded": "(received_at) WHERE folded_at IS NOT NULL",
    "session": "(account_id, telephony_session_id)",
}
_TODAY = "(now() AT TIME ZONE 'UTC')::date"


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    op.execute("ALTER TABLE deliveries RENAME TO deliveries_before")
    for name in _INDEXES:
        op.execute(f"ALTER INDEX ix_deliveries_{name} RENAME TO ix_deliveries_before_{name}")
    op.execute("ALTER TABLE deliveries_before DROP CONSTRAINT pk_deliveries")
    op.execute(
        "ALTER TABLE deliveries_before ADD CONSTRAINT pk_deliveries_before"
        " PRIMARY KEY USING INDEX uq_deliveries_before"
    )
    op.execute(
        "CREATE TABLE deliveries (LIKE deliveries_before INCLUDING DEFAULTS INCLUDING STORAGE)"
        " PARTITION BY RANGE (day)"
    )
    # For code of the previous release, which does not know the day.
    op.execute(f"ALTER TABLE deliveries ALTER COLUMN day SET DEFAULT {_TODAY}")
    op.execute("ALTER TABLE deliveries ADD CONSTRAINT pk_deliveries PRIMARY KEY (account_id, uuid, day)")
    for name, what in _INDEXES.items():
        op.execute(f"CREATE INDEX ix_deliveries_{name} ON deliveries {what}")
    op.execute("CREATE TABLE deliveries_default PARTITION OF deliveries DEFAULT")
    if op.get_bind().scalar(text("SELECT EXISTS (SELECT FROM deliveries_before)")):
        # Its own indexes and its check match, so there is nothing to build and nothing to read.
        op.execute(
            "ALTER TABLE deliveries ATTACH PARTITION deliveries_before"
            " FOR VALUES FROM (MINVALUE) TO ('1970-01-02')"
        )
    else:
        op.execute("DROP TABLE deliveries_before")


def downgrade() -> None:
    """Copy all rows into one table. Readers and writers wait for it."""
    if op.get_bind().dialect.name != "postgresql":
        return
    op.execute("ALTER TABLE deliveries RENAME TO deliveries_parted")
    op.execute(
        "CREATE TABLE deliveries AS SELECT DISTINCT ON (account_id, uuid) * FROM deliveries_parted"
        " ORDER BY account_id, uuid, received_at"
    )
    op.execute("DROP TABLE deliveries_parted")
    op.execute("UPDATE deliveries SET day = '1970-01-01'")
    for name in ("account_id", "uuid", "received_at", "raw", "day"):
        op.execute(f"ALTER TABLE deliveries ALTER COLUMN {name} SET NOT NULL")
    op.execute("ALTER TABLE deliveries ALTER COLUMN day SET DEFAULT '1970-01-01'")
    op.execute("ALTER TABLE deliveries ADD CONSTRAINT pk_deliveries PRIMARY KEY (account_id, uuid)")
    for name, what in _INDEXES.items():
        op.execute(f"CREATE INDEX ix_deliveries_{name} ON deliveries {what}")
    op.execute("ALTER TABLE deliveries ADD CONSTRAINT ck_deliveries_before CHECK (day < '1970-01-02')")
    op.execute("CREATE UNIQUE INDEX uq_deliveries_before ON deliveries (account_id, uuid, day)")
