"""Store how early a success of its endpoint makes a waiting message due.

Messages that a process of the previous version dates have none: they keep their schedule.
"""

import sqlalchemy as sa
from alembic import op

from app.db.types import UtcDateTime

revision = "20261129_webhook_recovery"
down_revision = "20261129_audit"
branch_labels = None
depends_on = None
breaks_older = False


def upgrade() -> None:
    op.add_column("webhook_messages", sa.Column("soonest_at", UtcDateTime(), nullable=True))


def downgrade() -> None:
    op.drop_column("webhook_messages", "soonest_at")
