"""Remember of a live call when to ask RingCentral whether it goes on, and when that was last known."""

import sqlalchemy as sa
from alembic import op

from app.db.types import UtcDateTime

revision = "20261128_live_calls"
down_revision = "20261123_unused_problems"
branch_labels = None
depends_on = None
breaks_older = False

_COLUMNS = ("ask_at", "state_known_at")


def upgrade() -> None:
    for column in _COLUMNS:
        op.add_column("calls", sa.Column(column, UtcDateTime(), nullable=True))


def downgrade() -> None:
    for column in _COLUMNS:
        op.drop_column("calls", column)
