"""Drop the problems of accounts and of poll targets: what a person has to do stands with the credentials."""

import sqlalchemy as sa
from alembic import op

from app.db.types import Json

revision = "20261123_unused_problems"
down_revision = "20261123_first"
branch_labels = None
depends_on = None

breaks_older = True

_TABLES = ("accounts", "poll_targets")


def upgrade() -> None:
    # Not in a batch, which copies the table on SQLite: both databases drop a column in place.
    for table in _TABLES:
        op.drop_column(table, "problem")


def downgrade() -> None:
    for table in _TABLES:
        op.add_column(table, sa.Column("problem", Json, nullable=True))
