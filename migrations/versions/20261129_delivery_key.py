"""Index deliveries by the key that a partition needs: it contains the day."""

from alembic import op

from app.db.indexes import create_index, drop_index

revision = "20261129_delivery_key"
down_revision = "20261129_delivery_days_checked"
branch_labels = None
depends_on = None
breaks_older = False

_NAME = "uq_deliveries_before"


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        create_index(_NAME, "deliveries", ["account_id", "uuid", "day"], unique=True)


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        drop_index(_NAME, "deliveries")
