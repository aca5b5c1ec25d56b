"""Store the day of a delivery, by which the next migrations partition the table on PostgreSQL.

All rows that exist get one day, which no later row has. A constant default needs no rewrite of the table, and
the check is not validated yet, so both take their lock for a moment only.
"""

import sqlalchemy as sa
from alembic import op

revision = "20261129_delivery_days"
down_revision = "20261129_retention_indexes"
branch_labels = None
depends_on = None
breaks_older = False


def upgrade() -> None:
    op.add_column(
        "deliveries", sa.Column("day", sa.Date(), server_default=sa.text("'1970-01-01'"), nullable=False)
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "ALTER TABLE deliveries ADD CONSTRAINT ck_deliveries_before CHECK (day < '1970-01-02') NOT VALID"
        )


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE deliveries DROP CONSTRAINT IF EXISTS ck_deliveries_before")
    op.drop_column("deliveries", "day")
