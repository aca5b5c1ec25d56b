"""Mark the changes of the timeline, so that a cursor from before a restore is recognised."""

import sqlalchemy as sa
from alembic import op

revision = "20261128_timeline_marks"
down_revision = "20261128_live_calls"
branch_labels = None
depends_on = None
breaks_older = False


def upgrade() -> None:
    op.add_column("timeline", sa.Column("mark", sa.String(12), nullable=True))


def downgrade() -> None:
    op.drop_column("timeline", "mark")
