"""Store whose call it is, for lists by agent."""

import sqlalchemy as sa
from alembic import op

revision = "20261129_call_agents"
down_revision = "20261128_timeline_marks"
branch_labels = None
depends_on = None
breaks_older = False


def upgrade() -> None:
    op.add_column("calls", sa.Column("agent_extension_id", sa.String(128), nullable=True))
    op.create_index(
        "ix_calls_agent", "calls", ["account_id", "agent_extension_id", "started_at", "call_id"]
    )


def downgrade() -> None:
    op.drop_index("ix_calls_agent", table_name="calls")
    op.drop_column("calls", "agent_extension_id")
