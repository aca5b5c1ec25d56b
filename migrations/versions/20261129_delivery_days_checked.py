"""Check the day of all deliveries, so that the table can become a partition without being read again.

That reads the whole table, under a lock that stops neither readers nor writers.
"""

from alembic import op

revision = "20261129_delivery_days_checked"
down_revision = "20261129_delivery_days"
branch_labels = None
depends_on = None
breaks_older = False


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE deliveries VALIDATE CONSTRAINT ck_deliveries_before")


def downgrade() -> None:
    pass
