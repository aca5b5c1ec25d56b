"""Index calls by whose they are, for lists by agent."""

from app.db.indexes import create_index, drop_index

revision = "20261129_call_agents_index"
down_revision = "20261129_call_agents"
branch_labels = None
depends_on = None
breaks_older = False


def upgrade() -> None:
    create_index("ix_calls_agent", "calls", ["account_id", "agent_extension_id", "started_at", "call_id"])


def downgrade() -> None:
    drop_index("ix_calls_agent", "calls")
