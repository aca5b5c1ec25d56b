"""Store whose call it is."""

import sqlalchemy as sa
from alembic import op

revision = "20261129_call_agents"
down_revision = "20261128_timeline_marks"
branch_labels = None
depends_on = None
breaks_older = False


def upgrade() -> None:
    op.add_column("calls", sa.Column("agent_extension_id", sa.String(128), nullable=True))


def downgrade() -> None:
    op.drop_column("calls", "agent_extension_id")
